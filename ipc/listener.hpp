// Listener: connections with programs that are not relatives.
#pragma once

#include <cofork/ipc/connection.hpp>
#include <cofork/ipc/listener_options.hpp>
#include <cofork/ipc/listener_state.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace cofork {

namespace detail {

template <class T>
Task<ipc::Connection<T>> typed_connection(Task<ConnectionPtr> task) {
  ConnectionPtr connection = co_await std::move(task);
  co_return ipc::Connection<T>(std::move(connection));
}

}  // namespace detail

namespace ipc {

/// Waits for connections of other programs, made with `connect` (`multiprocessing.connection.Listener`). Over a Unix
/// socket descriptors, and so the library's handles, travel in the messages; over TCP they do not. Both programs must
/// be of the same architecture and agree on the messages' type.
///
/// With a key in the options each side proves to the other, before anything else, that it knows the key (HMAC-SHA256 of
/// random challenges, the listener's first): the key itself does not travel, and what follows is not encrypted. An
/// empty key is a key. Without options there is no authentication: then whoever can connect can send.
///
/// It is a handle: copies share the socket, and it can be given to other processes, which then accept side by side.
class Listener : public detail::HandleBase {
 public:
  /// Listens at a path in the file system, which must not exist, and which the process that made it removes when its
  /// last copy of the listener is closed and every `Process` that was given one has ended; or, where `path` begins with
  /// a NUL, under a name in Linux's abstract namespace. std::system_error (EADDRINUSE), std::invalid_argument for a
  /// path that is empty or too long.
  static Listener bind(std::string path) { return Listener(detail::ListenerState::bind_unix(path, {})); }
  static Listener bind(ListenerOptions options, std::string path) {
    return Listener(detail::ListenerState::bind_unix(path, std::string(options.authkey)));
  }
  /// Listens at a TCP port, 0 for any that is free; an empty `host` is all of this machine's addresses. A host name is
  /// looked up, which blocks. std::system_error.
  static Listener bind(std::string host, std::uint16_t port) {
    return Listener(detail::ListenerState::bind_tcp(host, port, {}));
  }
  static Listener bind(ListenerOptions options, std::string host, std::uint16_t port) {
    return Listener(detail::ListenerState::bind_tcp(host, port, std::string(options.authkey)));
  }

  /// The next connection, with messages of type T. `AuthenticationError` when a peer failed to prove that it knows the
  /// key, said something that no peer says, went away, or took longer than ten seconds: that costs this one connection.
  /// The listener goes on, and such a peer holds up nobody else. std::system_error with EMFILE when this process has no
  /// descriptors left: the peer waits on. Cancelling loses nothing. std::logic_error if the listener is closed.
  template <class T>
  Task<Connection<T>> accept() const {
    return detail::typed_connection<T>(detail::accept_connection(state()));
  }
  /// The same without a loop. std::logic_error on a running loop's thread.
  template <class T>
  Connection<T> blocking_accept() const {
    detail::require_no_loop("blocking_accept");
    const detail::ListenerPtr listener = state();
    return Connection<T>(detail::blocking_accept_connection(*listener));
  }

  /// The TCP port; 0 for a Unix socket.
  std::uint16_t port() const { return state()->port(); }
  /// Gives up this handle. Whoever waits in `accept` goes on to do so.
  void close() noexcept { reset(); }
  bool closed() const noexcept { return handle_state() == nullptr; }
  /// The listening socket, still the listener's.
  int native_handle() const { return state()->native_handle(); }

 private:
  friend struct Codec<Listener>;
  explicit Listener(detail::ListenerPtr state)
      : HandleBase(detail::IntrusivePtr<detail::HandleState>(std::move(state))) {}
  detail::ListenerPtr state() const {
    if (!handle_state()) throw std::logic_error("this listener is closed");
    return detail::ListenerPtr(static_cast<detail::ListenerState*>(handle_state()));
  }
};

}  // namespace ipc

/// Another process accepts at the same socket, too. The key travels with it.
template <>
struct Codec<ipc::Listener> {
  static void encode(ipc::Writer& writer, const ipc::Listener& listener) { listener.state()->encode(writer); }
  static ipc::Listener decode(ipc::Reader& reader) { return ipc::Listener(detail::ListenerState::decode(reader)); }
};

}  // namespace cofork
