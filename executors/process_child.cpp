#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cofork/executors/process_child.hpp>
#include <cofork/executors/process_table.hpp>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {
using Clock = std::chrono::steady_clock;

int milliseconds_until(std::optional<Clock::time_point> deadline) {
  if (!deadline) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, INT_MAX));
}
}  // namespace

ProcessChild::ProcessChild(std::string name, bool daemon, std::vector<SocketFilePtr> files)
    : creator_(::getpid()), daemon_(daemon), name_(std::move(name)), files_(std::move(files)) {}

ProcessChild::~ProcessChild() {
  if (creator_ == ::getpid()) return;
  static_cast<void>(pidfd_.release());
  static_cast<void>(parent_end_.release());
}

std::optional<int> ProcessChild::exitcode() { return ProcessTable::instance().exitcode(*this); }

bool ProcessChild::wait(std::optional<Clock::time_point> deadline) {
  while (!exitcode()) {
    pollfd watched = {pidfd_.get(), POLLIN, 0};
    const int ready = ::poll(&watched, 1, milliseconds_until(deadline));
    if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
    if (ready == 0 && deadline && Clock::now() >= *deadline) return exitcode().has_value();
  }
  return true;
}

void ProcessChild::send_signal(int signo) {
  if (exitcode() || ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signo, nullptr, 0) == 0 || errno == ESRCH) return;
  throw std::system_error(errno, std::generic_category(), "send signal " + std::to_string(signo));
}

void ProcessChild::set_name(const std::string& name) { ProcessTable::instance().rename(*this, name); }

}  // namespace cofork::detail
