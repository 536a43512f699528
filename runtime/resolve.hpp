// Looking up names.
#pragma once

#include <cofork/runtime/task.hpp>
#include <string>
#include <vector>

namespace cofork {

/// The addresses of a host, numeric and in the order to try them, each once (`asyncio`'s `loop.getaddrinfo`). Looked up
/// on libuv's thread pool. std::system_error: EHOSTUNREACH for a name that is not known, EAGAIN when no name server
/// answered. Cancelling ends the wait at once; a lookup that has begun ends by itself, and `run()` ends only after it.
Task<std::vector<std::string>> resolve(std::string host);

}  // namespace cofork
