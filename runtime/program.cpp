#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cofork/runtime/program.hpp>
#include <cofork/runtime/system_call.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace cofork::detail {

namespace {
// When somebody else has reaped it, or the program ignores SIGCHLD: nobody knows.
constexpr int unknown_exitcode = 255;
}  // namespace

// Through the pidfd, for the pid may be another process's if somebody else has reaped it.
bool Program::reap() {
  if (exitcode_) return true;
  siginfo_t ended = {};
  const int result = retry_interrupted(
      [&] { return ::waitid(P_PIDFD, static_cast<id_t>(started_.pidfd.get()), &ended, WEXITED | WNOHANG); });
  if (result < 0 && errno != ECHILD) throw_errno("wait for process", std::to_string(started_.pid).c_str());
  if (result == 0 && ended.si_pid == 0) return false;
  if (result < 0)
    exitcode_ = unknown_exitcode;
  else
    exitcode_ = ended.si_code == CLD_EXITED ? ended.si_status : -ended.si_status;
  return true;
}

std::optional<int> Program::exitcode() {
  if (!exitcode_ && reap()) wake();
  return exitcode_;
}

void Program::send_signal(int number) {
  if (exitcode()) return;
  if (::syscall(SYS_pidfd_send_signal, started_.pidfd.get(), number, nullptr, 0) < 0 && errno != ESRCH)
    throw_errno("send a signal to process", std::to_string(started_.pid).c_str());
}

// As long as nobody has reaped it its number is its own, and so is the group's.
void Program::kill_group() noexcept {
  siginfo_t ended = {};
  const bool is_ours = !exitcode_ && ::waitid(P_PIDFD, static_cast<id_t>(started_.pidfd.get()), &ended,
                                              WEXITED | WNOHANG | WNOWAIT) == 0;
  if (is_ours) ::kill(-started_.pid, SIGKILL);
}

void Program::end() noexcept {
  kill_group();
  started_.leash.reset();
  if (exitcode_) return;
  // Not by waitid: on a pidfd that a loop watches, and so made non-blocking, it does not wait.
  pollfd ended = {started_.pidfd.get(), POLLIN, 0};
  retry_interrupted([&] { return ::poll(&ended, 1, -1); });
  reap();
  wake();
}

void Program::wake() noexcept {
  while (!waiters_.empty()) waiters_.front().resume_later();
  watch_.reset();
}

void Program::wait(Waiter& waiter) {
  Loop& loop = Loop::current();
  if (watch_ && loop_ != &loop) throw std::logic_error("Subprocess::wait: another loop waits for this program");
  waiters_.push_back(waiter);
  if (watch_) return;
  watch_.emplace(loop.uv(), started_.pidfd.get(), [this] { exitcode(); });
  loop_ = &loop;
  static_cast<Link<LoopResource>&>(*this).unlink();
  loop.resources().push_back(*this);
}

bool ProgramEnd::suspend(std::coroutine_handle<> handle, Context* context) {
  node_.program = program_.get();
  if (context && context->cancelled()) {
    node_.stopped = true;
    program_->kill_group();
  }
  node_.suspend(handle, context, "a program's end", &ProgramEnd::on_cancel);
  program_->wait(node_);
  return true;
}

void ProgramEnd::on_cancel(Waiter& waiter) noexcept {
  auto& node = static_cast<Node&>(waiter);
  node.stopped = true;
  node.program->kill_group();
}

}  // namespace cofork::detail
