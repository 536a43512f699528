// The one client of all servers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

struct Load {
  unsigned connections;
  std::size_t bytes;  ///< of a request, and of its answer
  double seconds;
};

/// Requests per second, each connection sending the next one when it has the answer to the last.
double requests_per_second(std::uint16_t port, const Load& load);

}  // namespace bench
