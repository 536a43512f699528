#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/process_table.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/loop.hpp>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace cofork {

namespace detail {

namespace {
constexpr std::chrono::seconds grace{1};
// Of a child that somebody else has reaped.
constexpr int unknown_exitcode = 255;

/// A child that has become somebody else's cannot be signalled.
void signal_if_allowed(ProcessChild& child, int signo) {
  try {
    child.send_signal(signo);
  } catch (const std::system_error&) {
  }
}

/// Joins what was started in a run of a loop when that ends.
class RunEnd final : public LoopResource {
 public:
  explicit RunEnd(Loop& loop) : loop_(&loop), process_(::getpid()) { loop.resources().push_back(*this); }
  bool is_of(const Loop& loop) const noexcept { return loop_ == &loop && process_ == ::getpid(); }

  static thread_local RunEnd* current;

 private:
  void loop_closing() noexcept override {
    ProcessTable::instance().join_children_of(loop_);
    current = nullptr;
    delete this;
  }

  const Loop* loop_;
  const pid_t process_;
};

thread_local RunEnd* RunEnd::current = nullptr;

// Made before main, so that the process that makes it is the program's first.
[[maybe_unused]] ProcessTable& made_at_start = ProcessTable::instance();
}  // namespace

ProcessTable& ProcessTable::instance() {
  static ProcessTable* const table = new ProcessTable;  // used at exit
  return *table;
}

ProcessTable::ProcessTable() : pid_(::getpid()) {
  ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] { instance().mutex_.unlock(); });
}

std::unique_lock<std::mutex> ProcessTable::lock() {
  std::unique_lock guard(mutex_);
  if (pid_ != ::getpid()) was_forked();
  return guard;
}

// By somebody else: the program goes on in two processes, as the one that it was.
void ProcessTable::was_forked() {
  pid_ = ::getpid();
  children_.clear();
  ends_children_ = false;
}

void ProcessTable::become(std::string name, std::string numbers, bool daemonic) {
  const std::lock_guard guard(mutex_);
  parent_ = ProcessInfo{std::exchange(name_, std::move(name)), pid_};
  numbers_ = std::move(numbers);
  daemonic_ = daemonic;
  numbered_ = 0;
  was_forked();
}

void ProcessTable::become_pool_worker(std::uint64_t number) {
  std::string numbers = std::to_string(number);
  if (!numbers_.empty()) numbers = numbers_ + ':' + numbers;
  become("ForkPoolWorker-" + numbers, numbers, false);
}

ProcessInfo ProcessTable::current() {
  const auto guard = lock();
  return {name_, pid_};
}

std::optional<ProcessInfo> ProcessTable::parent() {
  const auto guard = lock();
  return parent_;
}

bool ProcessTable::daemonic() {
  const auto guard = lock();
  return daemonic_;
}

std::string ProcessTable::next_numbers() {
  const auto guard = lock();
  const std::string number = std::to_string(++numbered_);
  return numbers_.empty() ? number : numbers_ + ':' + number;
}

void ProcessTable::prepare() {
  bool first = false;
  {
    const auto guard = lock();
    first = !std::exchange(ends_children_, true);
    for (auto place = children_.begin(); place != children_.end();) {
      const auto child = place++;
      if (child->use_count() == 1) reap(**child);
    }
  }
  // Not in a process that was forked from this one and exits without having started any.
  if (first && std::atexit([] {
                 ProcessTable& table = instance();
                 if (table.pid_ == ::getpid()) table.end_children();
               }) != 0) {
    throw std::system_error(ENOMEM, std::generic_category(), "atexit");
  }
  if (current_loop && (!RunEnd::current || !RunEnd::current->is_of(*current_loop)))
    RunEnd::current = new RunEnd(*current_loop);
}

std::shared_ptr<ProcessChild> ProcessTable::add(Entry& entry, pid_t pid, ipc::Descriptor parent_end) {
  std::shared_ptr<ProcessChild> child = entry.list_.front();
  child->pid_ = pid;
  child->run_ = current_loop;
  child->parent_end_ = std::move(parent_end);
  child->pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!child->pidfd_.valid()) {
    const int error = errno;
    if (error == ESRCH) child->pidfd_.reset(::eventfd(1, EFD_CLOEXEC));
    if (!child->pidfd_.valid()) {
      ::kill(pid, SIGKILL);
      while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
      }
      throw std::system_error(error, std::generic_category(), "pidfd_open");
    }
    child->exitcode_ = unknown_exitcode;
    return child;
  }
  child->place_ = entry.list_.begin();
  const auto guard = lock();
  children_.splice(children_.end(), entry.list_);
  return child;
}

// Through the pidfd, for the pid may be another child's if a foreign `waitpid` was faster.
bool ProcessTable::reap(ProcessChild& child) {
  if (child.exitcode_) return true;
  siginfo_t ended = {};
  while (::waitid(P_PIDFD, static_cast<id_t>(child.pidfd_.get()), &ended, WEXITED | WNOHANG) < 0) {
    if (errno == EINTR) continue;
    if (errno != ECHILD) throw std::system_error(errno, std::generic_category(), "waitid");
    ended.si_pid = child.pid_;
    ended.si_code = CLD_EXITED;
    ended.si_status = unknown_exitcode;
    break;
  }
  if (ended.si_pid == 0) return false;
  child.exitcode_ = ended.si_code == CLD_EXITED ? ended.si_status : -ended.si_status;
  child.parent_end_.reset();
  child.files_.clear();
  children_.erase(child.place_);  // may destroy the child
  return true;
}

std::optional<int> ProcessTable::exitcode(ProcessChild& child) {
  const auto guard = lock();
  reap(child);
  return child.exitcode_;
}

void ProcessTable::rename(ProcessChild& child, const std::string& name) {
  const auto guard = lock();
  child.name_ = name;
}

std::vector<std::shared_ptr<ProcessChild>> ProcessTable::running() {
  const auto guard = lock();
  for (auto place = children_.begin(); place != children_.end();) reap(**place++);
  return {children_.begin(), children_.end()};
}

std::vector<ProcessInfo> ProcessTable::active_children() {
  std::vector<ProcessInfo> active;
  const auto children = running();
  const auto guard = lock();
  for (const auto& child : children) active.push_back({child->name_, child->pid_});
  return active;
}

void ProcessTable::join_children_of(const void* run) noexcept {
  const auto children = running();
  const auto is_meant = [&](const auto& child) { return child->run_ == run && !child->daemon(); };
  if (std::none_of(children.begin(), children.end(), is_meant)) return;
  flush_standard_streams();  // what was printed before comes before what they print
  waiting_for_others();
  for (const auto& child : children)
    if (is_meant(child)) child->wait(std::nullopt);
}

void ProcessTable::end_children() noexcept {
  const auto children = running();
  if (children.empty()) return;
  flush_standard_streams();
  waiting_for_others();
  for (const auto& child : children)
    if (child->daemon()) signal_if_allowed(*child, SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + grace;
  for (const auto& child : children) {
    if (child->daemon() && !child->wait(deadline)) signal_if_allowed(*child, SIGKILL);
  }
  for (const auto& child : children) child->wait(std::nullopt);
}

}  // namespace detail

ProcessInfo current_process() { return detail::ProcessTable::instance().current(); }
std::optional<ProcessInfo> parent_process() { return detail::ProcessTable::instance().parent(); }
std::vector<ProcessInfo> active_children() { return detail::ProcessTable::instance().active_children(); }

}  // namespace cofork
