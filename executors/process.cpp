#include <cxxabi.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/function_id.hpp>
#include <cofork/executors/parent_watch.hpp>
#include <cofork/executors/process.hpp>
#include <cofork/executors/process_join.hpp>
#include <cofork/executors/process_table.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <typeinfo>
#include <vector>

namespace cofork {

namespace {

using detail::ProcessTable;

void print_failure(const std::string& name, const char* type, const char* what) {
  std::fprintf(stderr, "Process %s: %s%s%s\n", name.c_str(), type, *what ? ": " : "", what);
}

/// The exit status.
int run_reporting(Process& process) {
  try {
    process.run();
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    print_failure(process.name(), detail::type_name(typeid(error)).c_str(), error.what());
  } catch (...) {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    print_failure(process.name(), type ? detail::type_name(*type).c_str() : "an unknown exception", "");
  }
  return EXIT_FAILURE;
}

}  // namespace

Process::Process() : Process(ProcessOptions()) {}

Process::Process(ProcessOptions options)
    : name_(options.name),
      numbers_(ProcessTable::instance().next_numbers()),
      creator_(::getpid()),
      daemon_(options.daemon) {
  if (name_.empty()) name_ = "Process-" + numbers_;
}

Process::Process(Process&& other) noexcept
    : KnowsItsMemory(),
      name_(std::move(other.name_)),
      numbers_(std::move(other.numbers_)),
      target_(std::move(other.target_)),
      child_(std::move(other.child_)),
      creator_(other.creator_),
      daemon_(other.daemon_),
      state_(std::exchange(other.state_, State::moved_from)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  name_ = std::move(other.name_);
  numbers_ = std::move(other.numbers_);
  target_ = std::move(other.target_);
  child_ = std::move(other.child_);
  creator_ = other.creator_;
  daemon_ = other.daemon_;
  state_ = std::exchange(other.state_, State::moved_from);
  return *this;
}

Process::~Process() = default;

void Process::run() {
  if (target_) target_->call();
}

void Process::check_usable() const {
  if (state_ == State::moved_from) throw std::logic_error("this process was moved from");
  if (state_ == State::closed) throw std::logic_error("process " + name_ + " is closed");
  if (creator_ != ::getpid() && state_ != State::running_here)
    throw std::logic_error("process " + name_ + " belongs to the process that made it");
}

detail::ProcessChild& Process::child(const char* caller) const {
  check_usable();
  if (state_ == State::running_here)
    throw std::logic_error(std::string(caller) + ": process " + name_ + " is the calling one");
  if (!child_) throw std::logic_error(std::string(caller) + ": process " + name_ + " was not started");
  return *child_;
}

void Process::start() {
  check_usable();
  if (state_ != State::ready) throw std::logic_error("process " + name_ + " was started before");
  ProcessTable& table = ProcessTable::instance();
  if (table.daemonic()) throw std::logic_error("a daemonic process cannot start processes");

  detail::GivenHandles given(find_handles());
  table.prepare();
  detail::flush_standard_streams();
  std::optional<detail::StandardDescriptorsOpen> standard_descriptors(std::in_place);
  ProcessTable::Entry entry(name_, daemon_, given.socket_files());
  detail::ParentWatch watch;
  const std::vector<int> inheritable = detail::inheritable_descriptors();
  std::vector<int> descriptors = inheritable;
  for (const int descriptor : given.descriptors()) descriptors.push_back(descriptor);
  if (watch.descriptor() >= 0) descriptors.push_back(watch.descriptor());
  std::sort(descriptors.begin(), descriptors.end());

  const pid_t parent = ::getpid();
  {
    const detail::SignalsBlocked blocked;  // a handler for SIGCHLD might reap the child
    const pid_t pid = ::fork();
    if (pid == 0) {
      detail::close_replaced(inheritable, parent);
      run_in_child(parent, watch, given, descriptors, standard_descriptors->null_device());
    }
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    standard_descriptors.reset();  // makes room for the pidfd
    child_ = table.add(entry, pid, watch.parent_end());
  }
  state_ = State::started;
  target_.reset();
}

detail::FoundHandles Process::find_handles() {
  // The members of derived classes, before and behind this class's own.
  const Extent self = memory();
  const auto* const first = static_cast<const std::byte*>(self.address);
  const auto* const base = reinterpret_cast<const std::byte*>(this);
  const auto* const behind = base + sizeof(Process);
  detail::FoundHandles handles = detail::handles_within(first, static_cast<std::size_t>(base - first));
  handles.add(detail::handles_within(behind, static_cast<std::size_t>(first + self.size - behind)));
  if (target_) detail::add_handles_of(*target_, handles);
  return handles;
}

void Process::run_in_child(pid_t parent, detail::ParentWatch& watch, detail::GivenHandles& given,
                           std::span<const int> descriptors, int null_device) noexcept {
  detail::enter_child({.parent = parent,
                       .death_signal = watch.death_signal(),
                       .descriptors = descriptors,
                       .own_group = false,
                       .null_device = null_device});
  watch.in_child();
  given.in_child();
  ProcessTable& table = ProcessTable::instance();
  table.become(name_, numbers_, daemon_);
  detail::isolate_exit();
  state_ = State::running_here;
  detail::unblock_signals();
  const int status = run_reporting(*this);
  table.end_children();
  detail::end_child(status);
}

bool Process::is_alive() {
  check_usable();
  if (state_ == State::running_here) return true;
  return child_ && !child_->exitcode();
}

std::optional<int> Process::exitcode() {
  check_usable();
  return child_ ? child_->exitcode() : std::nullopt;
}

pid_t Process::pid() const {
  check_usable();
  if (state_ == State::running_here) return ::getpid();
  return child_ ? child_->pid() : 0;
}

int Process::sentinel() const { return child("sentinel").sentinel(); }

Task<bool> Process::join() {
  child("join");
  return detail::join_child(child_, std::nullopt);
}

Task<bool> Process::join(std::chrono::nanoseconds timeout) {
  child("join");
  return detail::join_child(child_, timeout);
}

bool Process::blocking_join(std::optional<std::chrono::nanoseconds> timeout) {
  detail::ProcessChild& waited_for = child("blocking_join");
  if (detail::current_loop)
    throw std::logic_error("blocking_join on the thread of a running loop: co_await join() instead");
  if (waited_for.exitcode()) return true;
  if (timeout && timeout->count() <= 0) return false;
  detail::waiting_for_others();
  if (!timeout) return waited_for.wait(std::nullopt);
  return waited_for.wait(detail::deadline_after(*timeout));
}

void Process::terminate() { child("terminate").send_signal(SIGTERM); }
void Process::kill() { child("kill").send_signal(SIGKILL); }
void Process::interrupt() { child("interrupt").send_signal(SIGINT); }
void Process::send_signal(int signo) { child("send_signal").send_signal(signo); }

void Process::close() {
  if (state_ == State::closed) return;
  if (is_alive()) throw std::logic_error("process " + name_ + " still runs: it cannot be closed");
  child_.reset();
  target_.reset();
  state_ = State::closed;
}

void Process::set_name(std::string name) {
  if (child_) child_->set_name(name);
  name_ = std::move(name);
}

void Process::set_daemon(bool daemon) {
  check_usable();
  if (state_ != State::ready) throw std::logic_error("process " + name_ + " was started before");
  daemon_ = daemon;
}

}  // namespace cofork
