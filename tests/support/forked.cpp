#include "support/forked.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>

namespace support {
namespace {

using Clock = std::chrono::steady_clock;

long checked(long result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(fd_); }
  operator int() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void run_child(const std::function<void()>& body, pid_t parent, int output) {
  int status = 0;
  try {
    for (int signal_number = 1; signal_number < NSIG; ++signal_number) signal(signal_number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    checked(sigprocmask(SIG_SETMASK, &none, nullptr), "sigprocmask");
    checked(setpgid(0, 0), "setpgid");
    checked(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
    if (getppid() != parent) _exit(72);
    checked(dup2(output, STDOUT_FILENO), "dup2");
    checked(dup2(output, STDERR_FILENO), "dup2");
    checked(close(output), "close");
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child failed: %s\n", error.what());
    status = 70;
  } catch (...) {
    std::fprintf(stderr, "child failed: not a std::exception\n");
    status = 70;
  }
  std::fflush(nullptr);
  _exit(status);
}

// False at the end of the pipe, or when it holds nothing more for now.
bool read_some(int fd, std::string& into) {
  char buffer[4096];
  const auto count = read(fd, buffer, sizeof buffer);
  if (count > 0) into.append(buffer, static_cast<std::size_t>(count));
  return count > 0;
}

int milliseconds_until(Clock::time_point deadline) {
  using std::chrono::milliseconds;
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::clamp(left, milliseconds(0), milliseconds(std::chrono::hours(24))).count());
}

// Collects output until the child itself has ended; others may hold the other end of the pipe for longer.
void follow(ChildOutcome& outcome, int process, int output, Clock::time_point deadline) {
  pollfd watched[] = {{process, POLLIN, 0}, {output, POLLIN, 0}};
  while (!(watched[0].revents & POLLIN)) {
    const int ready = poll(watched, 2, outcome.timed_out ? -1 : milliseconds_until(deadline));
    if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
    if (ready == 0) {
      outcome.timed_out = true;
      checked(kill(-outcome.pid, SIGKILL), "kill");
    }
    if (ready > 0 && watched[1].revents && !read_some(output, outcome.output)) watched[1].fd = -1;
  }
  while (read_some(output, outcome.output)) {
  }
}

}  // namespace

ChildOutcome in_child(const std::function<void()>& body, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit * slowdown;
  int ends[2];
  checked(pipe2(ends, O_CLOEXEC), "pipe2");
  const Descriptor output(ends[0]);
  ChildOutcome outcome;
  {
    const Descriptor input(ends[1]);
    checked(fcntl(output, F_SETFL, O_NONBLOCK), "fcntl");
    std::fflush(nullptr);
    const pid_t parent = getpid();
    outcome.pid = static_cast<pid_t>(checked(fork(), "fork"));
    if (outcome.pid == 0) run_child(body, parent, input);
    ::setpgid(outcome.pid, outcome.pid);  // as the child does itself: the group is there whoever comes first
  }
  const Descriptor process(static_cast<int>(checked(syscall(SYS_pidfd_open, outcome.pid, 0), "pidfd_open")));
  follow(outcome, process, output, deadline);

  int status = 0;
  checked(waitpid(outcome.pid, &status, 0), "waitpid");
  if (WIFEXITED(status)) outcome.exit_status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  return outcome;
}

void require(bool condition, const std::string& message, std::source_location where) {
  if (condition) return;
  std::fprintf(stderr, "%s:%u: required: %s\n", where.file_name(), where.line(), message.c_str());
  std::fflush(nullptr);
  _exit(71);
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  // Counted in looks: time that passes while nobody runs here is not the others' either.
  constexpr std::chrono::milliseconds between_looks(1);
  for (auto left = limit * slowdown; !condition(); left -= between_looks) {
    if (left.count() <= 0) return false;
    std::this_thread::sleep_for(between_looks);
  }
  return true;
}

bool is_running(pid_t pid) {
  std::string text;
  try {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    text.assign(std::istreambuf_iterator<char>(file), {});
  } catch (const std::ios_base::failure&) {
    return false;  // it ended while its state was read
  }
  const auto close = text.rfind(") ");
  return close != std::string::npos && text[close + 2] != 'Z' && text[close + 2] != 'X';
}

}  // namespace support
