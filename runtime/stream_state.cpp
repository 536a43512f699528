#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cofork/runtime/sigpipe_guard.hpp>
#include <cofork/runtime/socket_state.hpp>
#include <cofork/runtime/stream_operation.hpp>
#include <cofork/runtime/stream_state.hpp>
#include <stdexcept>
#include <system_error>

namespace cofork::detail {

namespace {
// How many reads in a row may find something before the loop has a look at everybody else; and writes in one turn of
// the loop, whose waiting costs next to nothing.
constexpr unsigned char reads_in_a_row = 16;
constexpr unsigned char writes_in_one_turn = 4;
}  // namespace

StreamState::StreamState(Descriptor descriptor, std::string subject, Kind kind)
    : HandleState("stream"),
      descriptor_(std::move(descriptor)),
      is_socket_(kind == Kind::socket),
      subject_(std::move(subject)) {
  if (is_socket_) return;
  struct stat status;
  if (::fstat(descriptor_.get(), &status) < 0) fail(errno, "adopt");
  is_socket_ = S_ISSOCK(status.st_mode);
  if (kind == Kind::shared) poll_.keep_mode();
  if (is_socket_) return;
  may_block_ = wait_before_reading_ = kind == Kind::shared;
  if (!may_block_) set_nonblocking(descriptor_.get());
}

StreamState::~StreamState() { close(); }

void StreamState::fail(int error, const char* what) const {
  throw std::system_error(error, std::generic_category(), std::string(what) + ' ' + subject_);
}

std::ptrdiff_t StreamState::receive(std::span<std::byte> into) {
  if (wait_before_reading_) return wait_first;
  while (true) {
    const ssize_t count = is_socket_ ? ::recv(descriptor_.get(), into.data(), into.size(), MSG_DONTWAIT)
                                     : ::read(descriptor_.get(), into.data(), into.size());
    if (count >= 0) {
      wait_before_reading_ =
          may_block_ || static_cast<std::size_t>(count) < into.size() || ++reads_without_waiting_ >= reads_in_a_row;
      return count;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return wait_first;
    if (errno != EINTR) fail(errno, "read from");
  }
}

std::ptrdiff_t StreamState::send(std::span<const iovec> buffers) {
  if (write_broken_)
    throw std::system_error(EPIPE, std::generic_category(),
                            "write to " + subject_ + ": an earlier write was cancelled in the middle");
  const std::size_t number = std::min<std::size_t>(buffers.size(), IOV_MAX);
  while (true) {
    ssize_t count;
    if (!is_socket_) {
      const SigpipeGuard guard;
      count = ::writev(descriptor_.get(), buffers.data(), static_cast<int>(number));
    } else if (number == 1) {
      count = ::send(descriptor_.get(), buffers[0].iov_base, buffers[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
      msghdr message = {};
      message.msg_iov = const_cast<iovec*>(buffers.data());
      message.msg_iovlen = number;
      count = ::sendmsg(descriptor_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (count >= 0) return count;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return wait_first;
    if (errno != EINTR) fail(errno, "write to");
  }
}

bool StreamState::others_turn(unsigned turn) noexcept {
  if (turn != turn_of_writes_) {
    turn_of_writes_ = turn;
    writes_in_turn_ = 0;
  }
  return ++writes_in_turn_ >= writes_in_one_turn;
}

void StreamState::fail_to_begin(DescriptorPoll::For what) const {
  const bool reads = what == DescriptorPoll::For::reading;
  if (!reads && write_shut_) throw std::logic_error("write to " + subject_ + ": after shutdown_write");
  if (!descriptor_.valid()) throw std::logic_error((reads ? "read from " : "write to ") + subject_ + ": it is closed");
  throw std::logic_error((reads ? "another coroutine already reads from " : "another coroutine already writes to ") +
                         subject_);
}

void StreamState::shutdown_write() {
  if (writer_) throw std::logic_error("shutdown_write of " + subject_ + ": a coroutine still writes");
  if (write_shut_) throw std::logic_error("shutdown_write of " + subject_ + ": called before");
  if (is_socket_) {
    // ENOTCONN: the peer has reset the connection already.
    if (::shutdown(descriptor_.get(), SHUT_WR) < 0 && errno != ENOTCONN) fail(errno, "shutdown");
  } else {
    const int flags = ::fcntl(descriptor_.get(), F_GETFL);
    if (flags < 0) fail(errno, "shutdown");
    if ((flags & O_ACCMODE) != O_WRONLY) fail(ENOTSOCK, "shutdown");
    poll_.close();
    descriptor_.reset();
  }
  write_shut_ = true;
}

void StreamState::close() noexcept {
  for (StreamOperation** slot : {&reader_, &writer_})
    if (*slot) std::exchange(*slot, nullptr)->stream_closed();
  poll_.close();
  descriptor_.reset();
}

void StreamState::check_idle(const char* what) const {
  if (reader_ || writer_) throw std::logic_error(std::string(what) + ' ' + subject_ + ": a coroutine waits for it");
}

int StreamState::release() {
  check_idle("release");
  if (!buffer_.empty()) throw std::logic_error("release of " + subject_ + ": more was read than was taken");
  poll_.close();
  return descriptor_.release();
}

void StreamState::list_descriptors(std::vector<int>& to) const {
  if (given() && descriptor_.valid()) to.push_back(descriptor_.get());
}

void StreamState::after_fork_in_child(bool given) noexcept {
  // The coroutines that wait are the parent's.
  reader_ = writer_ = nullptr;
  poll_.forget();
  stopped_waiting();
  if (!given) static_cast<void>(descriptor_.release());
}

}  // namespace cofork::detail
