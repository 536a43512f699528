#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/socket_state.hpp>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

SocketState::SocketState(Descriptor descriptor, std::string subject, const char* what)
    : HandleState(what), descriptor_(std::move(descriptor)), subject_(std::move(subject)) {}

SocketState::~SocketState() { close(); }

void SocketState::fail(int error, const char* operation) const {
  throw std::system_error(error, std::generic_category(), std::string(operation) + ' ' + subject_);
}

void SocketState::check_open() const {
  check_given();
  if (!descriptor_.valid()) throw std::logic_error(std::string("this ") + what() + " is closed: " + subject_);
}

SocketAddress SocketState::address() const {
  check_open();
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getsockname(descriptor_.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.size) < 0)
    fail(errno, "address of");
  return address;
}

void SocketState::close() noexcept {
  if (!descriptor_.valid()) return;
  poll_.for_each([](IoOperation& operation) { static_cast<SocketOperation&>(operation).socket_closed(); });
  poll_.close();
  file.reset();
  if (borrowed_)
    static_cast<void>(descriptor_.release());
  else
    descriptor_.reset();
}

int SocketState::release() {
  check_open();
  bool waits = false;
  poll_.for_each([&](IoOperation&) { waits = true; });
  if (waits) throw std::logic_error("release of " + subject_ + ": a coroutine waits for it");
  poll_.close();
  static_cast<void>(SocketFile::hand_over(file));
  return descriptor_.release();
}

void SocketState::list_descriptors(std::vector<int>& to) const {
  if (given() && descriptor_.valid()) to.push_back(descriptor_.get());
}

void SocketState::after_fork_in_child(bool given) noexcept {
  poll_.forget();
  file.reset();
  if (!given) static_cast<void>(descriptor_.release());
}

SocketPtr open_socket(HandleState* state, const char* what) {
  if (!state) throw std::logic_error(std::string("this ") + what + " is closed");
  const SocketPtr socket(static_cast<SocketState*>(state));
  socket->check_open();
  return socket;
}

void close_socket(HandleState* state) noexcept {
  if (state) static_cast<SocketState*>(state)->close();
}

void set_nonblocking(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || ((flags & O_NONBLOCK) == 0 && ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0))
    throw std::system_error(errno, std::generic_category(), "adopt descriptor " + std::to_string(descriptor));
}

bool SocketOperation::await_ready() {
  state_->check_open();
  // Whoever waits was here before.
  return first_ == First::attempt && !state_->poll().waited_for(direction_) && !state_->others_turn() && attempt();
}

bool SocketOperation::attempt() noexcept {
  try {
    if (!proceed()) return false;
  } catch (...) {
    failure_ = std::current_exception();
  }
  return over_ = true;
}

bool SocketOperation::suspend(std::coroutine_handle<> handle, Context* context) {
  if (context && context->cancelled()) return false;
  state_->waited();
  Waiter::suspend(handle, context, what_, &IoOperation::on_cancel);
  state_->poll().wait(*this, state_->descriptor(), direction_);
  return true;
}

void SocketOperation::socket_closed() noexcept {
  failure_ = std::make_exception_ptr(std::system_error(
      ECANCELED, std::generic_category(), std::string(what_) + ' ' + state_->subject() + ": it was closed"));
  over_ = true;
  unlink();
  if (current_loop) resume_later();
}

void SocketOperation::finish() const {
  if (failure_) std::rethrow_exception(failure_);
  if (!over_) throw CancelledError();
}

}  // namespace cofork::detail
