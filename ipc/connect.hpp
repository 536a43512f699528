// connect(): a connection to a Listener.
#pragma once

#include <cofork/ipc/connection.hpp>
#include <cofork/ipc/listener.hpp>
#include <cofork/ipc/listener_options.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <string>
#include <utility>

namespace cofork {

namespace detail {
Task<ConnectionPtr> connect_unix(std::string path, AuthenticationKey key);
Task<ConnectionPtr> connect_tcp(std::string host, std::uint16_t port, AuthenticationKey key);
ConnectionPtr blocking_connect_unix(const std::string& path, const AuthenticationKey& key);
ConnectionPtr blocking_connect_tcp(const std::string& host, std::uint16_t port, const AuthenticationKey& key);
}  // namespace detail

namespace ipc {

/// Connects to the `Listener` at `path` (`multiprocessing.connection.Client`). std::system_error if there is none
/// (ENOENT, ECONNREFUSED). With options the two sides authenticate each other: `AuthenticationError` if the keys
/// differ, if only one side has one, or if the listener takes longer than ten seconds, which it does while nobody
/// accepts. Without options nothing is waited for; that the listener wants a key is told by the first `recv`.
/// Cancelling drops the connection.
template <class T>
Task<Connection<T>> connect(std::string path) {
  return detail::typed_connection<T>(detail::connect_unix(std::move(path), {}));
}
template <class T>
Task<Connection<T>> connect(ListenerOptions options, std::string path) {
  return detail::typed_connection<T>(detail::connect_unix(std::move(path), std::string(options.authkey)));
}
/// The same over TCP. A name is looked up in a thread, and all addresses are tried; an empty `host` is this machine.
template <class T>
Task<Connection<T>> connect(std::string host, std::uint16_t port) {
  return detail::typed_connection<T>(detail::connect_tcp(std::move(host), port, {}));
}
template <class T>
Task<Connection<T>> connect(ListenerOptions options, std::string host, std::uint16_t port) {
  return detail::typed_connection<T>(detail::connect_tcp(std::move(host), port, std::string(options.authkey)));
}

/// The same without a loop. std::logic_error on a running loop's thread.
template <class T>
Connection<T> blocking_connect(std::string path) {
  detail::require_no_loop("blocking_connect");
  return Connection<T>(detail::blocking_connect_unix(path, {}));
}
template <class T>
Connection<T> blocking_connect(ListenerOptions options, std::string path) {
  detail::require_no_loop("blocking_connect");
  return Connection<T>(detail::blocking_connect_unix(path, std::string(options.authkey)));
}
template <class T>
Connection<T> blocking_connect(std::string host, std::uint16_t port) {
  detail::require_no_loop("blocking_connect");
  return Connection<T>(detail::blocking_connect_tcp(host, port, {}));
}
template <class T>
Connection<T> blocking_connect(ListenerOptions options, std::string host, std::uint16_t port) {
  detail::require_no_loop("blocking_connect");
  return Connection<T>(detail::blocking_connect_tcp(host, port, std::string(options.authkey)));
}

}  // namespace ipc
}  // namespace cofork
