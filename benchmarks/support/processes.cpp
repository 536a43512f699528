#include "processes.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace bench {

namespace {

constexpr unsigned longest_run_seconds = 300;

[[noreturn]] void fail(const char* operation) { throw std::system_error(errno, std::generic_category(), operation); }

/// Package and core; a CPU of which the system does not tell counts as a core of its own.
std::pair<int, int> core_of(int cpu) {
  const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
  int package = -1, core = cpu;
  std::ifstream(folder + "physical_package_id") >> package;
  if (int told; std::ifstream(folder + "core_id") >> told) core = told;
  return {package, core};
}

pid_t fork_running(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return pid;
  int status = 1;
  try {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("prctl");
    if (getppid() == parent) {
      body();
      status = 0;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.what());
  }
  _exit(status);
}

void wait_for_success(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) fail("waitpid");
  if (WIFSIGNALED(status)) throw std::runtime_error(std::string("a process ended: ") + strsignal(WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0) throw std::runtime_error("a process failed");
}

}  // namespace

void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

std::optional<std::pair<int, int>> two_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) fail("sched_getaffinity");
  std::vector<int> cpus;
  for (int cpu = 0; cpu != CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  if (cpus.size() < 2) return std::nullopt;
  for (const int other : cpus)
    if (core_of(other) != core_of(cpus[0])) return std::pair(cpus[0], other);
  return std::pair(cpus[0], cpus[1]);
}

double in_child(const std::function<double()>& body) {
  int ends[2];
  if (pipe(ends) != 0) fail("pipe");
  const pid_t pid = fork_running([&] {
    alarm(longest_run_seconds);
    const double result = body();
    if (write(ends[1], &result, sizeof result) != sizeof result) fail("write");
  });
  close(ends[1]);
  double result = 0;
  ssize_t size;
  do size = read(ends[0], &result, sizeof result);
  while (size < 0 && errno == EINTR);
  close(ends[0]);
  wait_for_success(pid);
  if (size != sizeof result) throw std::runtime_error("a process ended without a result");
  return result;
}

SharedMemory::SharedMemory(std::size_t size)
    : size_(size), data_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
  if (data_ == MAP_FAILED) fail("mmap");
}

SharedMemory::~SharedMemory() { munmap(data_, size_); }

Partner::Partner(const std::function<void()>& body) : pid_(fork_running(body)) {}

Partner::~Partner() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Partner::join() { wait_for_success(std::exchange(pid_, 0)); }

}  // namespace bench
