#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cofork/ipc/connection_state.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/spawn.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace cofork::detail {

ConnectionState::ConnectionState(std::unique_ptr<MessageSocket> socket, EndLine line, bool readable, bool writable)
    : HandleState("connection"),
      socket_(std::move(socket)),
      line_(std::move(line)),
      readable_(readable),
      writable_(writable),
      in_line_limit_(socket_->in_line_limit()) {}

ConnectionState::~ConnectionState() { close(); }

void ConnectionState::close() noexcept {
  MessageFiles::drop_all_of(files_);
  struct Open {
    std::unique_ptr<MessageSocket> socket;
    EndLine line;
  };
  const auto keep_open = std::make_shared<Open>();
  keep_open->socket = std::move(socket_);
  keep_open->line = std::move(line_);
  watches_.close(keep_open);
}

void ConnectionState::require_readable() const {
  check_given();
  if (!readable_) throw std::logic_error("this connection is write-only");
}

void ConnectionState::require_writable() const {
  check_given();
  if (!writable_) throw std::logic_error("this connection is read-only");
}

int ConnectionState::native_handle() const {
  check_given();
  return socket_->descriptor();
}

void ConnectionState::use() {
  if (used_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex_);
  line_.hold();
  used_.store(true, std::memory_order_release);
}

ConnectionState::Received ConnectionState::try_receive(IncomingMessage& message) {
  const std::lock_guard lock(mutex_);
  return socket_->try_receive(message);
}

ConnectionState::Received ConnectionState::receive(IncomingMessage& message) {
  use();
  Received received = try_receive(message);
  if (received != Received::nothing) return received;
  waiting_for_others();
  if (!line_.other_side_gone()) return Received::nothing;
  // The last one there may have sent something before it went.
  received = try_receive(message);
  return received == Received::nothing ? Received::ended : received;
}

bool ConnectionState::something_arrived() {
  use();
  {
    const std::lock_guard lock(mutex_);
    if (socket_->something_arrived()) return true;
  }
  waiting_for_others();
  return line_.other_side_gone();
}

ConnectionState::Sent ConnectionState::send(OutgoingMessagePtr& message, std::uint64_t& ticket) {
  use();
  const auto try_send = [&] {
    const std::lock_guard lock(mutex_);
    const Sent sent = socket_->try_send(message);
    if (sent == Sent::begun) ticket = ++begun_;
    return sent;
  };
  Sent sent = try_send();
  if (sent == Sent::would_block) {
    waiting_for_others();
    if (line_.other_side_gone()) sent = Sent::closed;
  }
  if (sent == Sent::closed)
    throw std::system_error(EPIPE, std::generic_category(), "send: nobody is left at the other end");
  return sent;
}

bool ConnectionState::sent(std::uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  const Sent sent = socket_->flush();
  if (sent == Sent::closed)
    throw std::system_error(EPIPE, std::generic_category(),
                            "send: the other end was closed in the middle of a message");
  return sent == Sent::done || begun_ > ticket;
}

SocketWatch& ConnectionState::watch() {
  const std::lock_guard lock(mutex_);
  return watches_.here(socket_->descriptor(), line_descriptor());
}

bool ConnectionState::wait_here(bool for_room, std::optional<Clock::time_point> deadline) {
  std::array<pollfd, 2> watched = {
      {{socket_->descriptor(), static_cast<short>(for_room ? POLLOUT : POLLIN), 0}, {line_descriptor(), 0, 0}}};
  {
    const std::lock_guard lock(mutex_);
    if (socket_->unsent()) watched[0].events |= POLLOUT;
  }
  const bool in_time = poll_until(watched, deadline);
  if (!for_room && (watched[0].revents & POLLOUT) != 0) {
    const std::lock_guard lock(mutex_);
    static_cast<void>(socket_->flush());
  }
  return in_time;
}

bool poll_until(std::span<pollfd> descriptors, std::optional<Clock::time_point> deadline) {
  while (true) {
    timespec left = {};
    if (deadline) {
      const auto duration = std::max(Clock::duration::zero(), *deadline - Clock::now());
      const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
      left.tv_sec = static_cast<time_t>(seconds.count());
      left.tv_nsec = static_cast<long>(std::chrono::nanoseconds(duration - seconds).count());
    }
    const int ready = ::ppoll(descriptors.data(), descriptors.size(), deadline ? &left : nullptr, nullptr);
    if (ready >= 0) return ready > 0;
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
  }
}

namespace {
enum EndFlags : std::uint8_t { may_read = 1, may_write = 2, has_line = 4, second_side = 8 };
}  // namespace

void ConnectionState::encode(ipc::Writer& writer) {
  check_given();
  const std::lock_guard lock(mutex_);
  socket_->require_between_messages();
  std::uint8_t flags = 0;
  if (readable_) flags |= may_read;
  if (writable_) flags |= may_write;
  if (line_.valid()) flags |= has_line;
  if (line_.side() == EndLine::Side::second) flags |= second_side;
  writer.value(socket_->kind());
  writer.value(flags);
  writer.descriptor(socket_->descriptor());
  if (line_.valid()) {
    const ipc::Descriptor holding = line_.for_other_process();
    writer.descriptor(holding.get());
  }
  given_away_ = true;
}

ConnectionPtr ConnectionState::decode(ipc::Reader& reader) {
  const auto kind = reader.value<std::uint8_t>();
  const auto flags = reader.value<std::uint8_t>();
  std::unique_ptr<MessageSocket> socket = MessageSocket::received(kind, reader.descriptor());
  EndLine line;
  if ((flags & has_line) != 0) {
    const auto side = (flags & second_side) != 0 ? EndLine::Side::second : EndLine::Side::first;
    line = EndLine::received(side, reader.descriptor());
  }
  return make_intrusive<ConnectionState>(std::move(socket), std::move(line), (flags & may_read) != 0,
                                         (flags & may_write) != 0);
}

void ConnectionState::list_descriptors(std::vector<int>& to) const {
  if (!given()) return;
  to.push_back(socket_->descriptor());
  line_.list_descriptors(to);
}

void ConnectionState::before_fork() {
  check_given();
  // Held until the fork is over: the child gets a state that no other thread is in the middle of changing.
  mutex_.lock();
  try {
    socket_->require_between_messages();
    line_.before_fork();
  } catch (...) {
    mutex_.unlock();
    throw;
  }
  given_away_ = true;
}

void ConnectionState::after_fork_in_parent() noexcept {
  line_.after_fork_in_parent();
  mutex_.unlock();
}

void ConnectionState::after_fork_in_child(bool given) noexcept {
  line_.after_fork_in_child(given);
  if (given) {
    used_ = given_away_ = false;
    mutex_.unlock();
  } else {
    static_cast<void>(socket_.release());  // with numbers that are not its any more
  }
  watches_.close(nullptr);
}

void ConnectionState::process_waits() noexcept {
  if (!given_away_ || used_ || !given()) return;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  // Who has the lock gives it away, or uses it.
  if (lock.owns_lock() && !used_) line_.let_go();
}

namespace {

/// Sends the rest of a message that was begun, for nobody any more.
Task<> send_rest(ConnectionPtr connection, std::uint64_t ticket) {
  try {
    while (!connection->sent(ticket)) co_await ReadyAwaiter(connection->watch(), ReadyAwaiter::For::writing);
  } catch (const std::system_error&) {
    // The peer is gone, and with it who would have read it.
  } catch (const CancelledError&) {
  }
}

/// Sees to it that a message that was begun is completed, even if its sender is cancelled or destroyed.
class BegunMessage {
 public:
  BegunMessage(const ConnectionPtr& connection, std::uint64_t ticket) : connection_(connection), ticket_(ticket) {}
  BegunMessage(const BegunMessage&) = delete;
  BegunMessage& operator=(const BegunMessage&) = delete;
  ~BegunMessage() {
    if (sent_ || !current_loop) return;
    try {
      static_cast<void>(spawn(send_rest(connection_, ticket_)));
    } catch (...) {
      // Whoever uses the connection next goes on with it.
    }
  }
  bool sent() {
    if (!sent_) {
      try {
        sent_ = connection_->sent(ticket_);
      } catch (...) {
        sent_ = true;
        throw;
      }
    }
    return sent_;
  }

 private:
  const ConnectionPtr& connection_;
  std::uint64_t ticket_;
  bool sent_ = false;
};

}  // namespace

Task<> send_message(ConnectionPtr connection, OutgoingMessagePtr message) {
  std::uint64_t ticket = 0;
  ConnectionState::Sent sent = connection->send(message, ticket);
  while (sent == ConnectionState::Sent::would_block) {
    co_await ReadyAwaiter(connection->watch(), ReadyAwaiter::For::writing);
    sent = connection->send(message, ticket);
  }
  if (sent == ConnectionState::Sent::done) co_return;
  BegunMessage begun(connection, ticket);
  bool cancelled = false;
  while (!cancelled && !begun.sent()) {
    try {
      co_await ReadyAwaiter(connection->watch(), ReadyAwaiter::For::writing);
    } catch (const CancelledError&) {
      cancelled = true;
    }
  }
}

void blocking_send_message(ConnectionState& connection, OutgoingMessagePtr message) {
  std::uint64_t ticket = 0;
  ConnectionState::Sent sent = connection.send(message, ticket);
  while (sent == ConnectionState::Sent::would_block) {
    connection.wait_here(true, std::nullopt);
    sent = connection.send(message, ticket);
  }
  if (sent == ConnectionState::Sent::done) return;
  while (!connection.sent(ticket)) connection.wait_here(true, std::nullopt);
}

bool blocking_receive_message(ConnectionState& connection, IncomingMessage& message) {
  ConnectionState::Received received = connection.receive(message);
  while (received == ConnectionState::Received::nothing) {
    connection.wait_here(false, std::nullopt);
    received = connection.receive(message);
  }
  return received == ConnectionState::Received::done;
}

Task<bool> poll_connection(ConnectionPtr connection, std::chrono::nanoseconds timeout) {
  bool arrived = connection->something_arrived();
  if (arrived || timeout <= timeout.zero()) co_return arrived;
  const Clock::time_point deadline = deadline_after(timeout);
  bool in_time = true;
  while (!arrived && in_time) {
    in_time = co_await ReadyAwaiter(connection->watch(), ReadyAwaiter::For::looking, deadline);
    arrived = connection->something_arrived();
  }
  co_return arrived;
}

bool blocking_poll_connection(ConnectionState& connection, std::chrono::nanoseconds timeout) {
  bool arrived = connection.something_arrived();
  if (timeout <= timeout.zero()) return arrived;
  const Clock::time_point deadline = deadline_after(timeout);
  bool in_time = true;
  while (!arrived && in_time) {
    in_time = connection.wait_here(false, deadline);
    arrived = connection.something_arrived();
  }
  return arrived;
}

void throw_end_of_connection() { throw EndOfFile("recv: the other end is closed, and nothing is left to receive"); }

}  // namespace cofork::detail
