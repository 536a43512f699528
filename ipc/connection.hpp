// Connection<T>: one end of a pipe between processes, whose messages are values of one type.
#pragma once

#include <chrono>
#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/connection_state.hpp>
#include <cofork/ipc/message.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/task.hpp>
#include <optional>
#include <stdexcept>
#include <utility>

namespace cofork {

namespace detail {

/// The part of a connection that does not depend on the type of its messages.
class ConnectionBase : public HandleBase {
 public:
  explicit ConnectionBase(ConnectionPtr state) : HandleBase(IntrusivePtr<HandleState>(std::move(state))) {}

  /// Gives up this handle. The other end sees the end of the stream when no process has a copy of it any more; a call
  /// that is under way keeps it open until it is done. Closing twice is nothing.
  void close() noexcept { reset(); }
  /// Whether this handle was closed, or moved from.
  bool closed() const noexcept { return handle_state() == nullptr; }
  /// The socket, still the connection's; for `poll` and the like only. It is readable when a message or the end of the
  /// stream is there, but for the end that is told by other means: see `ipc::wait`.
  int native_handle() const { return state()->native_handle(); }

 protected:
  friend class ConnectionAccess;
  /// Throws std::logic_error if it is closed.
  ConnectionPtr state() const {
    if (!handle_state()) throw std::logic_error("this connection is closed");
    return ConnectionPtr(static_cast<ConnectionState*>(handle_state()));
  }
  ConnectionPtr readable() const {
    ConnectionPtr connection = state();
    connection->require_readable();
    return connection;
  }
  ConnectionPtr writable() const {
    ConnectionPtr connection = state();
    connection->require_writable();
    return connection;
  }
};

/// For `ipc::wait` and the codec.
class ConnectionAccess {
 public:
  static ConnectionPtr state_of(const ConnectionBase& connection) { return connection.state(); }
  static ConnectionPtr readable_state_of(const ConnectionBase& connection) { return connection.readable(); }
};

template <class T>
Task<std::optional<T>> next_message(ConnectionPtr connection) {
  IncomingMessage message;
  ConnectionState::Received received = connection->receive(message);
  while (received == ConnectionState::Received::nothing) {
    co_await ReadyAwaiter(connection->watch(), ReadyAwaiter::For::taking);
    received = connection->receive(message);
  }
  std::optional<T> value;
  if (received == ConnectionState::Received::done) value.emplace(message.decode<T>());
  co_return value;
}

template <class T>
Task<T> receive_message(ConnectionPtr connection) {
  IncomingMessage message;
  ConnectionState::Received received = connection->receive(message);
  while (received == ConnectionState::Received::nothing) {
    co_await ReadyAwaiter(connection->watch(), ReadyAwaiter::For::taking);
    received = connection->receive(message);
  }
  if (received == ConnectionState::Received::ended) throw_end_of_connection();
  co_return message.decode<T>();
}

}  // namespace detail

namespace ipc {

/// One end of a pipe, or of a connection that `Listener` and `connect` made (`multiprocessing.connection.Connection`).
/// Any type with a codec travels; messages arrive whole, in the order in which they were sent, and never merged.
///
/// It is a handle: copies, in this process and in others, are the same end, and several coroutines, threads and (for a
/// `pipe`) processes may use it at once; each message goes to one of them. It travels by capture or argument to a
/// `Process`, as an argument to pool tasks, and in messages of other channels. A connection that `Listener` or
/// `connect` made is a byte stream underneath: after it was given to another process use it in one of the two only.
///
/// The end of the stream comes when every process that had the other end has closed it or died, however it died. A
/// process that gave the other end away, and never used it itself, does not count from the moment at which it waits for
/// others: nobody needs to close spare ends.
///
/// A process that is killed while it sends or receives: over a `pipe` its message has arrived whole or not at all, and
/// one that it had taken is gone with it; nobody else's is touched. Over a byte stream a message that is cut short is
/// `DecodeError` at the receiver. What had been sent before is still received.
///
/// Messages that wait to be received are bounded by the socket's buffer, long ones too: then `send` waits.
///
/// Used after `close()`, or in a child that was not given it: std::logic_error.
template <class T>
class Connection : public detail::ConnectionBase {
 public:
  using value_type = T;
  /// From the library's own functions: `pipe`, `connect`, `Listener::accept`.
  explicit Connection(detail::ConnectionPtr state) : ConnectionBase(std::move(state)) {}

  /// Sends `value`, which is encoded at the call, and waits while there is no room for it. Cancelling it while it waits
  /// sends nothing; over a byte stream, when a part of the message is out, the rest follows by itself and the call
  /// completes. std::system_error with EPIPE if nobody is left who could receive; what the other side had not read when
  /// it went is lost. std::invalid_argument for more descriptors than can travel beside one message (some 250), or for
  /// any over TCP.
  Task<> send(const T& value) const {
    detail::ConnectionPtr connection = writable();
    detail::OutgoingMessagePtr message = connection->encode_message(value);
    return detail::send_message(std::move(connection), std::move(message));
  }
  /// The next message. `EndOfFile` at the end of the stream, `DecodeError` for a message that is no T: it is skipped.
  /// std::system_error with EMFILE for one whose descriptors found no room in this process: it is lost. Cancelling
  /// loses nothing: a message is taken only by a call that gives it.
  Task<T> recv() const { return detail::receive_message<T>(readable()); }
  /// The same, and nothing at the end of the stream: `while (auto message = co_await connection.next())`.
  Task<std::optional<T>> next() const { return detail::next_message<T>(readable()); }
  /// True as soon as `recv` would not wait: a message is there, or the end of the stream. False if that is not so
  /// within `timeout`; 0 and less only looks. Cancelling ends the wait.
  Task<bool> poll(std::chrono::nanoseconds timeout = {}) const { return detail::poll_connection(readable(), timeout); }

  /// The same without a loop, for plain threads; an interrupting signal is of no concern. std::logic_error on a running
  /// loop's thread.
  void blocking_send(const T& value) const {
    detail::require_no_loop("blocking_send");
    const detail::ConnectionPtr connection = writable();
    detail::blocking_send_message(*connection, connection->encode_message(value));
  }
  T blocking_recv() const {
    detail::IncomingMessage message;
    if (!receive_here("blocking_recv", message)) detail::throw_end_of_connection();
    return message.decode<T>();
  }
  bool blocking_poll(std::chrono::nanoseconds timeout = {}) const {
    detail::require_no_loop("blocking_poll");
    return detail::blocking_poll_connection(*readable(), timeout);
  }

 private:
  bool receive_here(const char* function, detail::IncomingMessage& message) const {
    detail::require_no_loop(function);
    return detail::blocking_receive_message(*readable(), message);
  }
};

}  // namespace ipc

/// Another process gets this end, too.
template <class T>
struct Codec<ipc::Connection<T>> {
  static void encode(ipc::Writer& writer, const ipc::Connection<T>& connection) {
    detail::ConnectionAccess::state_of(connection)->encode(writer);
  }
  static ipc::Connection<T> decode(ipc::Reader& reader) {
    return ipc::Connection<T>(detail::ConnectionState::decode(reader));
  }
};

}  // namespace cofork
