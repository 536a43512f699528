#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/exception_codec.hpp>
#include <cofork/executors/fork_advice.hpp>
#include <cofork/executors/forked_child.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/executors/parent_watch.hpp>
#include <cofork/executors/process_table.hpp>
#include <cofork/executors/throw_trace.hpp>
#include <cofork/runtime/handle.hpp>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <vector>

namespace cofork::detail {

// The child.

ForkedResults::ForkedResults(std::unique_ptr<PacketSocket> socket)
    : socket_(std::move(socket)), owner_(MessageFiles::new_owner()) {}

OutgoingMessagePtr ForkedResults::begin(ForkedMessage kind) {
  auto message = std::make_unique<OutgoingMessage>(socket_->in_line_limit(), owner_);
  message->value(kind);
  return message;
}

void ForkedResults::error(const std::exception_ptr& error) {
  OutgoingMessagePtr message = begin(ForkedMessage::error);
  encode_exception(*message, error);
  send(std::move(message));
}

void ForkedResults::send(OutgoingMessagePtr message) {
  message->finish();
  if (held_back_)
    last_ = std::move(message);
  else
    transmit(std::move(message));
}

void ForkedResults::flush() {
  if (last_) transmit(std::move(last_));
}

void ForkedResults::transmit(OutgoingMessagePtr message) {
  for (;;) {
    switch (socket_->try_send(message)) {
      case MessageSocket::Sent::closed:
        ::_exit(EXIT_FAILURE);
      case MessageSocket::Sent::would_block:
        wait_until(POLLOUT);
        continue;
      case MessageSocket::Sent::begun:
      case MessageSocket::Sent::done:
        return;
    }
  }
}

void ForkedResults::wait_until(short events) {
  pollfd watched = {socket_->descriptor(), events, 0};
  while (::poll(&watched, 1, -1) < 0)
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
}

void ForkedResults::wait_for_turn() {
  char turn = 0;
  for (;;) {
    wait_until(POLLIN);
    const ssize_t count = ::recv(socket_->descriptor(), &turn, 1, MSG_DONTWAIT);
    if (count == 1) return;
    if (count == 0 || (errno != EINTR && errno != EAGAIN)) ::_exit(EXIT_FAILURE);
  }
}

void ForkedChild::run_in_child(ForkedBody& body, std::unique_ptr<PacketSocket> socket, const ResourceLimits& limits,
                               bool at_once) noexcept {
  const void* const stack_end = __builtin_frame_address(0);  // of what is told about the task
  report_crashes(crash_record_.get());
  report_crashes_below(stack_end);
  trace_throws(stack_end);
  ForkedResults results(std::move(socket));
  if (!at_once) results.wait_for_turn();
  try {
    if (limits.any()) limit_resources(limits);
    body.run(results);
  } catch (...) {
    allow_memory_for_error(limits);
    results.hold_back();
    results.error(std::current_exception());
  }
  ProcessTable::instance().end_children();
  // Whoever has the result may kill this process: it must have nothing left to do.
  flush_standard_streams();
  results.flush();
  ::_exit(EXIT_SUCCESS);
}

// The parent.

ForkedChild::ForkedChild(ForkedBody& body, const ResourceLimits& limits, std::uint64_t number, bool at_once)
    : owner_(::getpid()) {
  warn_about_snapshot_threads();
  remember_modules();
  prepare_throw_traces();
  FoundHandles handles;
  add_handles_of(body, handles);
  GivenHandles given(std::move(handles));
  flush_standard_streams();

  std::optional<StandardDescriptorsOpen> standard_descriptors(std::in_place);
  auto [ours, theirs] = PacketSocket::create_pair();
  ParentWatch watch(ParentWatch::Ends::group);
  const std::vector<int> inheritable = inheritable_descriptors();
  std::vector<int> descriptors = inheritable;
  for (const int descriptor : given.descriptors()) descriptors.push_back(descriptor);
  if (watch.descriptor() >= 0) descriptors.push_back(watch.descriptor());
  descriptors.push_back(theirs->descriptor());
  std::sort(descriptors.begin(), descriptors.end());

  const SignalsBlocked blocked;  // a handler for SIGCHLD might reap the child
  pid_ = ::fork();
  if (pid_ == 0) {
    close_replaced(inheritable, owner_);
    enter_child({.parent = owner_,
                 .death_signal = watch.death_signal(),
                 .descriptors = descriptors,
                 .null_device = standard_descriptors->null_device()});
    watch.in_child();
    given.in_child();
    isolate_exit();
    ProcessTable::instance().become_pool_worker(number);
    unblock_signals();
    run_in_child(body, std::move(theirs), limits, at_once);
  }
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  ::setpgid(pid_, pid_);  // the child does it too: who comes first makes the group
  theirs.reset();
  standard_descriptors.reset();  // makes room for the pidfd
  pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_.valid()) {
    const int error = errno;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    throw std::system_error(error, std::generic_category(), "pidfd_open");
  }
  parent_end_ = watch.parent_end();
  socket_ = std::move(ours);
}

ForkedChild::~ForkedChild() {
  if (::getpid() != owner_) {
    static_cast<void>(pidfd_.release());
    static_cast<void>(parent_end_.release());
    static_cast<void>(socket_.release());
    return;
  }
  if (reaped_) return;
  signal(SIGKILL);
  pollfd ended = {pidfd_.get(), POLLIN, 0};
  while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
  reap();
}

void ForkedChild::begin() noexcept {
  // A child that cannot be told is dead, which will be seen.
  static_cast<void>(::send(socket_->descriptor(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/// Not where somebody else has reaped it, and its pid may be another process's.
bool ForkedChild::is_ours() const noexcept {
  siginfo_t ended = {};
  return !reaped_ && ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &ended, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void ForkedChild::signal(int signo) noexcept {
  if (!is_ours()) return;
  const int result = ::kill(-pid_, signo);
  if (result < 0 || ::getpgid(pid_) != pid_) ::kill(pid_, signo);  // it has left its group itself
}

bool ForkedChild::has_ended() const noexcept {
  pollfd ended = {pidfd_.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) > 0;
}

std::optional<ForkedChild::End> ForkedChild::reap() noexcept {
  if (!has_ended()) return std::nullopt;
  End end;
  if (is_ours()) {
    ::kill(-pid_, SIGKILL);
    pid_t reaped = -1;
    do {
      reaped = ::wait4(pid_, &end.status, WNOHANG, &end.usage);
    } while (reaped < 0 && errno == EINTR);
    if (reaped == 0) return std::nullopt;
    end.status_known = reaped == pid_;
  }
  reaped_ = true;
  parent_end_.reset();
  return end;
}

}  // namespace cofork::detail
