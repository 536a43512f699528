// What is behind a listener, a datagram socket and a `Poll`: a descriptor on which several coroutines may wait. Not for
// users.
#pragma once

#include <cofork/runtime/descriptor.hpp>
#include <cofork/runtime/descriptor_poll.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/socket_address.hpp>
#include <cofork/runtime/socket_file.hpp>
#include <coroutine>
#include <exception>
#include <string>
#include <utility>

namespace cofork::detail {

class SocketState final : public HandleState {
 public:
  /// `subject` names it in errors.
  SocketState(Descriptor descriptor, std::string subject, const char* what);
  ~SocketState() override;

  /// -1 when it is closed.
  int descriptor() const noexcept { return descriptor_.get(); }
  const std::string& subject() const noexcept { return subject_; }
  void set_subject(std::string subject) { subject_ = std::move(subject); }
  DescriptorPoll& poll() noexcept { return poll_; }
  [[noreturn]] void fail(int error, const char* operation) const;
  /// std::logic_error when it is closed, or not of this process.
  void check_open() const;
  /// The address that it is bound to. Throws std::system_error.
  SocketAddress address() const;

  /// The socket's file, if it has one.
  SocketFilePtr file;

  /// The descriptor is somebody else's.
  void borrow() noexcept {
    borrowed_ = true;
    poll_.keep_mode();
  }
  /// Whether the loop should look at everybody else first, as this descriptor was ready again and again.
  bool others_turn() noexcept { return ++in_a_row_ > most_in_a_row; }
  void waited() noexcept { in_a_row_ = 0; }

  /// Whoever waits gets an error.
  void close() noexcept;
  /// Gives up the descriptor; std::logic_error while something waits for it.
  int release();

  void list_descriptors(std::vector<int>& to) const override;
  void after_fork_in_child(bool given) noexcept override;
  void close_in_child() noexcept override { close(); }
  SocketFilePtr file_of_socket() const noexcept override { return file; }

  bool failed_for_want = false;  ///< The system had no descriptor, or no memory, for the last one that came.

 private:
  static constexpr unsigned char most_in_a_row = 16;
  Descriptor descriptor_;
  std::string subject_;
  bool borrowed_ = false;
  unsigned char in_a_row_ = 0;
  DescriptorPoll poll_;
};

using SocketPtr = IntrusivePtr<SocketState>;

/// The state of a handle; std::logic_error when it is closed.
SocketPtr open_socket(HandleState* state, const char* what);
/// What the handle's `close` does before it lets go of its state.
void close_socket(HandleState* state) noexcept;
/// Throws std::system_error.
void set_nonblocking(int descriptor);

/// Operations of the same direction are served in the order in which they came.
class SocketOperation : public IoOperation {
 public:
  bool await_ready();
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspend(handle, context_of(handle));
  }
  void socket_closed() noexcept;

 protected:
  enum class First { attempt, wait };
  SocketOperation(SocketPtr state, DescriptorPoll::For direction, const char* what, First first = First::attempt)
      : state_(std::move(state)), direction_(direction), what_(what), first_(first) {}
  SocketOperation(const SocketOperation& other)
      : IoOperation(), state_(other.state_), direction_(other.direction_), what_(other.what_), first_(other.first_) {}
  ~SocketOperation() = default;

  /// True when it is over; throws its error.
  virtual bool proceed() = 0;
  bool attempt() noexcept final;
  /// The first part of `await_resume`.
  void finish() const;
  SocketState& state() const noexcept { return *state_; }

 private:
  bool suspend(std::coroutine_handle<> handle, Context* context);

  const SocketPtr state_;
  DescriptorPoll::For direction_;
  const char* what_;  // "accept from"
  First first_;
  bool over_ = false;
  std::exception_ptr failure_;
};

}  // namespace cofork::detail
