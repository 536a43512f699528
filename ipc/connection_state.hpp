// What the copies of a connection share within a process.
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <cofork/ipc/blocking.hpp>
#include <cofork/ipc/end_line.hpp>
#include <cofork/ipc/message.hpp>
#include <cofork/ipc/message_socket.hpp>
#include <cofork/ipc/socket_watch.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace cofork::detail {

/// One end of a connection, without the type of its messages. Any thread may use it.
///
/// The end of the stream is told by the kernel when the other end's socket is closed everywhere. Where a process still
/// has that socket although it gave it away and never used it, the line tells: see `EndLine`.
class ConnectionState final : public HandleState {
 public:
  using Received = MessageSocket::Received;
  using Sent = MessageSocket::Sent;

  ConnectionState(std::unique_ptr<MessageSocket> socket, EndLine line, bool readable, bool writable);
  ~ConnectionState() override;

  /// Both throw std::logic_error: for the wrong direction, and in a child that was not given the connection.
  void require_readable() const;
  void require_writable() const;
  int native_handle() const;

  template <class T>
  OutgoingMessagePtr encode_message(const T& value) const {
    return OutgoingMessage::encode(in_line_limit_, files_, value);
  }

  /// Takes the next message. `nothing`: wait, and call it again. Before that is said, the other processes are told that
  /// this one waits. Throws as `MessageSocket::try_receive`.
  Received receive(IncomingMessage& message);
  /// True if `receive` would say something else than `nothing`.
  bool something_arrived();
  /// Throws std::system_error (EPIPE) if nobody is left to read, and as `MessageSocket::try_send`. `begun`: the message
  /// is the connection's now, under the number `ticket`.
  Sent send(OutgoingMessagePtr& message, std::uint64_t& ticket);
  /// True when the message that was begun is out. Throws std::system_error (EPIPE).
  bool sent(std::uint64_t ticket);

  /// The watch of the current loop.
  SocketWatch& watch();
  /// Waits in this thread, for room or for a message; false if the deadline has passed. Throws std::system_error.
  bool wait_here(bool for_room, std::optional<Clock::time_point> deadline);
  /// What poll(2) is to watch for messages: the socket and, unless it is -1, the line.
  int socket_descriptor() const noexcept { return socket_->descriptor(); }
  int line_descriptor() const noexcept { return line_.held() ? line_.watch_descriptor() : -1; }
  /// This process uses it, and so counts as one that may do so again.
  void use();

  /// Appends it to a message.
  void encode(ipc::Writer& writer);
  static IntrusivePtr<ConnectionState> decode(ipc::Reader& reader);

  void list_descriptors(std::vector<int>& to) const override;
  void before_fork() override;
  void after_fork_in_parent() noexcept override;
  void after_fork_in_child(bool given) noexcept override;
  void process_waits() noexcept override;

 private:
  void close_in_child() noexcept override { close(); }
  void close() noexcept;
  Received try_receive(IncomingMessage& message);

  mutable std::mutex mutex_;
  std::unique_ptr<MessageSocket> socket_;
  EndLine line_;
  const bool readable_, writable_;
  const std::size_t in_line_limit_;
  const MessageFiles::Owner files_ = MessageFiles::new_owner();
  std::atomic<bool> used_ = false;
  std::atomic<bool> given_away_ = false;
  SocketWatches watches_;
  std::uint64_t begun_ = 0;
};

using ConnectionPtr = IntrusivePtr<ConnectionState>;

/// poll(2) until one of them is ready, whatever signals come; false if the deadline has passed. Throws
/// std::system_error.
bool poll_until(std::span<pollfd> descriptors, std::optional<Clock::time_point> deadline);

/// Throws EndOfFile.
[[noreturn]] void throw_end_of_connection();

Task<> send_message(ConnectionPtr connection, OutgoingMessagePtr message);
void blocking_send_message(ConnectionState& connection, OutgoingMessagePtr message);
/// False at the end of the stream.
bool blocking_receive_message(ConnectionState& connection, IncomingMessage& message);
Task<bool> poll_connection(ConnectionPtr connection, std::chrono::nanoseconds timeout);
bool blocking_poll_connection(ConnectionState& connection, std::chrono::nanoseconds timeout);

}  // namespace cofork::detail
