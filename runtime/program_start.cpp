#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cofork/runtime/program_start.hpp>
#include <cofork/runtime/system_call.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <system_error>

// glibc's `clone`, by the name that TSan, which takes every clone for a fork, does not replace.
extern "C" int __clone(int (*)(void*), void*, int, void*, ...) noexcept;

namespace cofork::detail {

namespace {

enum class Step { preparing, changing_directory, executing };

/// What the child needs: it shares our memory, and may neither allocate nor take a lock.
struct Launch {
  const char* const* candidates;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  const int* stdio;
  int leash;  // its end of it
  pid_t parent;
  std::uint64_t signals;  // to be reset: signal N is bit N - 1
  int error = 0;
  Step step = Step::preparing;
};

// Sanitizers know nothing of its stack; and where they replace a function of the C library that would change what they
// keep of this process, the child makes the system call itself.
#define COFORK_IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

constexpr std::size_t kernel_sigset_size = NSIG / 8;

COFORK_IN_CHILD void reset_signals(std::uint64_t which) noexcept {
  const unsigned long standard[8] = {};  // SIG_DFL, no flags, nothing masked
  for (int number = 1; number < NSIG; ++number)
    if ((which >> (number - 1) & 1) != 0) ::syscall(SYS_rt_sigaction, number, standard, nullptr, kernel_sigset_size);
}

// What does not work here leaves the other safeguards.
COFORK_IN_CHILD void hold_leash(int end) noexcept {
  // Out of the way of programs that count on the lowest numbers.
  int kept = ::fcntl(end, F_DUPFD, 64);
  if (kept < 0) kept = ::fcntl(end, F_DUPFD, STDERR_FILENO + 1);
  if (kept < 0 || ::fcntl(kept, F_SETOWN, -::getpid()) < 0 || ::fcntl(kept, F_SETSIG, SIGKILL) < 0) return;
  ::fcntl(kept, F_SETFL, O_RDONLY | O_ASYNC);
}

COFORK_IN_CHILD bool wire(const int* stdio) noexcept {
  for (int descriptor = 0; descriptor < 3; ++descriptor) {
    if (stdio[descriptor] < 0)
      ::fcntl(descriptor, F_SETFD, 0);
    else if (::syscall(SYS_dup3, stdio[descriptor], descriptor, 0) < 0)
      return false;
  }
  return true;
}

COFORK_IN_CHILD void execute(Launch& launch) noexcept {
  int refused = 0;
  for (const char* const* path = launch.candidates; *path; ++path) {
    ::execve(*path, launch.arguments, launch.environment);
    if (errno == EACCES) refused = EACCES;
    if (errno != EACCES && errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV) return;
  }
  if (refused != 0) errno = refused;
}

COFORK_IN_CHILD int child(void* argument) noexcept {
  Launch& launch = *static_cast<Launch*>(argument);
  const auto fail = [&launch] {
    launch.error = errno;
    ::_exit(127);
  };
  reset_signals(launch.signals);
  if (::setpgid(0, 0) < 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail();
  hold_leash(launch.leash);
  if (::getppid() != launch.parent) ::_exit(127);
  if (!wire(launch.stdio)) fail();
  launch.step = Step::changing_directory;
  if (launch.directory && ::chdir(launch.directory) < 0) fail();
  launch.step = Step::executing;
  const std::uint64_t none = 0;
  if (::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, kernel_sigset_size) < 0) fail();
  execute(launch);
  fail();
  return 0;
}

/// What this process handles, so that no handler runs in the child; and of what it ignores those that programs which
/// write to pipes and files rely on.
std::uint64_t signals_to_reset() noexcept {
  std::uint64_t which = 0;
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action;
    if (::sigaction(number, nullptr, &action) < 0) continue;
    const bool plain = (action.sa_flags & SA_SIGINFO) == 0;
    const bool stays_ignored = plain && action.sa_handler == SIG_IGN && number != SIGPIPE && number != SIGXFSZ;
    if (!stays_ignored && !(plain && action.sa_handler == SIG_DFL)) which |= std::uint64_t{1} << (number - 1);
  }
  return which;
}

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &previous_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

 private:
  sigset_t previous_;
};

void check_text(std::string_view text, const char* what) {
  if (text.find('\0') != std::string_view::npos)
    throw std::invalid_argument(std::string("Subprocess::start: a null character in ") + what);
}

void check(const ProgramPlan& plan) {
  if (plan.arguments.empty()) throw std::invalid_argument("Subprocess::start: no program");
  for (const std::string& argument : plan.arguments) check_text(argument, "an argument");
  check_text(plan.directory, "the directory");
  for (const std::string& variable : plan.environment) {
    check_text(variable, "the environment");
    if (variable.find('=', 1) == std::string::npos)
      throw std::invalid_argument("Subprocess::start: \"" + variable + "\" in the environment is not NAME=value");
  }
}

/// Where the program may be, in order. PATH is that of the program's environment.
std::vector<std::string> find_candidates(const ProgramPlan& plan) {
  const std::string& program = plan.arguments.front();
  if (program.empty() || program.find('/') != std::string::npos) return {program};
  std::string_view path = "/bin:/usr/bin";
  if (!plan.own_environment) {
    if (const char* const ours = std::getenv("PATH")) path = ours;
  }
  for (const std::string_view variable : plan.environment)
    if (variable.starts_with("PATH=")) path = variable.substr(5);
  std::vector<std::string> candidates;
  for (bool more = true; more;) {
    const std::size_t end = path.find(':');
    const std::string directory(path.substr(0, end));
    candidates.push_back((directory.empty() ? "." : directory) + '/' + program);
    more = end != std::string_view::npos;
    if (more) path.remove_prefix(end + 1);
  }
  return candidates;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> list;
  list.reserve(strings.size() + 1);
  for (const std::string& string : strings) list.push_back(const_cast<char*>(string.c_str()));
  list.push_back(nullptr);
  return list;
}

[[noreturn]] void throw_failure(const ProgramPlan& plan, const Launch& launch) {
  std::string subject = plan.arguments.front();
  if (launch.step == Step::changing_directory) subject += " in " + plan.directory;
  throw std::system_error(launch.error, std::generic_category(), "start " + subject);
}

}  // namespace

StartedProgram start_program(const ProgramPlan& plan) {
  check(plan);
  const char* const name = plan.arguments.front().c_str();
  const std::vector<std::string> paths = find_candidates(plan);
  const std::vector<char*> candidates = pointers(paths);
  const std::vector<char*> arguments = pointers(plan.arguments);
  const std::vector<char*> variables = pointers(plan.environment);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) throw_errno("start", name);
  const Descriptor held(ends[0]);
  StartedProgram started{0, Descriptor(), Descriptor(ends[1])};

  Launch launch{};
  launch.candidates = candidates.data();
  launch.arguments = arguments.data();
  launch.environment = plan.own_environment ? variables.data() : environ;
  launch.directory = plan.directory.empty() ? nullptr : plan.directory.c_str();
  launch.stdio = plan.stdio.data();
  launch.leash = held.get();
  launch.parent = ::getpid();

  constexpr std::size_t stack_size = 64 * 1024;
  const std::unique_ptr<std::byte[]> stack(new std::byte[stack_size]);
  const auto top = reinterpret_cast<std::uintptr_t>(stack.get() + stack_size) & ~std::uintptr_t{63};
  int pidfd = -1;
  {
    // A handler that ran in the child would run in our memory.
    const SignalsBlocked blocked;
    launch.signals = signals_to_reset();
    // As posix_spawn does it: in our memory, and this thread waits until the program is executed.
    started.pid =
        __clone(&child, reinterpret_cast<void*>(top), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &launch, &pidfd);
    if (started.pid < 0) throw_errno("start", name);
  }
  started.pidfd.reset(pidfd);
  if (launch.error == 0) return started;
  siginfo_t ended = {};
  retry_interrupted([&] { return ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &ended, WEXITED); });
  throw_failure(plan, launch);
}

}  // namespace cofork::detail
