// Unix-domain streams and listeners.
#pragma once

#include <cofork/runtime/tcp.hpp>
#include <string>
#include <utility>

namespace cofork {

namespace detail {
struct UnixListenerAccess;
}  // namespace detail

/// A connection over a Unix socket (`asyncio.open_unix_connection`).
class UnixStream : public ByteStream {
 public:
  /// Connects to the listener at `path`, or, where it begins with '@' or NUL, under the name that follows in Linux's
  /// abstract namespace ("./@x" is a file). Waits while the listener's queue is full. std::system_error,
  /// std::invalid_argument for a path that is empty or too long. Cancelling ends it at once.
  static Task<UnixStream> connect(std::string path);

  /// Over a connected socket, which becomes the stream's.
  static UnixStream adopt(int descriptor);

  /// For what makes streams.
  explicit UnixStream(detail::StreamPtr state) : ByteStream(std::move(state)) {}
};

/// Waits for connections at a Unix socket (`asyncio.start_unix_server`, without the callbacks). It can be given to a
/// `Process`, as a `TcpListener` can.
class UnixListener : public detail::HandleBase {
 public:
  /// Listens at a path, which must not exist; or under an abstract name, see `UnixStream::connect`. The path's file is
  /// removed when this process has closed the listener and every `Process` that was given it has ended; where it was
  /// sent to, as an argument of a pool's task for one, when the receiver closes it; it stays behind if that is killed
  /// or never gets the listener. std::system_error (EADDRINUSE), std::invalid_argument for a path that is empty or too
  /// long.
  static UnixListener bind(std::string path) { return bind(ListenOptions{}, std::move(path)); }
  static UnixListener bind(ListenOptions options, std::string path);
  /// Over a socket that listens already and becomes the listener's; its file, if it has one, is not.
  static UnixListener adopt(int descriptor);

  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) noexcept;
  /// Closes it.
  ~UnixListener() { close(); }

  /// As `TcpListener::accept`.
  Task<UnixStream> accept() { return detail::accept_as<UnixStream>(state()); }
  /// As `TcpListener::close`; the socket's file is removed, see `bind`.
  void close() noexcept;
  bool closed() const noexcept { return handle_state() == nullptr; }
  /// The descriptor, still the listener's.
  int native_handle() const { return state()->descriptor(); }
  /// As `TcpListener::release`; the socket's file stays.
  int release();

 private:
  friend struct detail::UnixListenerAccess;
  explicit UnixListener(detail::SocketPtr state)
      : HandleBase(detail::IntrusivePtr<detail::HandleState>(std::move(state))) {}
  detail::SocketPtr state() const { return detail::open_socket(handle_state(), "listener"); }
};

namespace detail {
/// For what sends listeners to other processes.
struct UnixListenerAccess {
  static SocketPtr state(const UnixListener& listener) { return listener.state(); }
};
}  // namespace detail

}  // namespace cofork
