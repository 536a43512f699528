// pipe(): a pair of connected ends.
#pragma once

#include <cofork/ipc/connection.hpp>
#include <utility>

namespace cofork {

namespace ipc {

struct PipeOptions {
  /// Both ends send and receive. Otherwise the first receives and the second sends.
  bool duplex = true;
};

}  // namespace ipc

namespace detail {
std::pair<ConnectionPtr, ConnectionPtr> make_pipe(ipc::PipeOptions options);
}  // namespace detail

namespace ipc {

/// Two connected ends, `{receiver, sender}` if not duplex (`multiprocessing.Pipe`). What one end sends the other
/// receives. std::system_error when the process has no descriptors left: a pipe takes four, an end in another process
/// two.
template <class T>
std::pair<Connection<T>, Connection<T>> pipe(PipeOptions options = {}) {
  auto [first, second] = detail::make_pipe(options);
  return {Connection<T>(std::move(first)), Connection<T>(std::move(second))};
}

}  // namespace ipc
}  // namespace cofork
