// Connecting, of TCP and Unix streams alike. Not for users.
#pragma once

#include <cofork/runtime/socket_address.hpp>
#include <cofork/runtime/stream_state.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <string>

namespace cofork::detail {

/// One attempt at one address; `name` is the peer's in errors. Null if the queue of a Unix listener is full. Throws
/// std::system_error. Cancelling ends the attempt, and closes its socket.
Task<StreamPtr> connect_once(const SocketAddress& address, const std::string& name);

/// Throw std::system_error. Cancelling ends the attempt.
Task<StreamPtr> connect_tcp_stream(std::string host, std::uint16_t port);
Task<StreamPtr> connect_unix_stream(std::string path);

}  // namespace cofork::detail
