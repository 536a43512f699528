#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cofork/executors/exception_origin.hpp>
#include <cofork/executors/stack_trace.hpp>
#include <cofork/executors/task_clock.hpp>
#include <cofork/executors/worker_death.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace cofork::detail {

namespace {

/// The number in a line that begins with `key`; false if there is no such line.
bool read_number(const char* path, const char* key, std::uint64_t& number) {
  std::FILE* const file = std::fopen(path, "re");
  if (!file) return false;
  char line[256];
  bool found = false;
  const std::size_t length = std::strlen(key);
  while (!found && std::fgets(line, sizeof line, file)) {
    unsigned long long value = 0;
    found = std::strncmp(line, key, length) == 0 && std::sscanf(line + length, " %llu", &value) == 1;
    if (found) number = value;
  }
  std::fclose(file);
  return found;
}

/// The path of this process's control group, version 2; empty if there is none.
std::string control_group() {
  std::string group;
  if (std::FILE* const file = std::fopen("/proc/self/cgroup", "re")) {
    char line[4096];
    while (std::fgets(line, sizeof line, file))
      if (std::strncmp(line, "0::/", 4) == 0) group.assign(line + 3, std::strcspn(line + 3, "\n"));
    std::fclose(file);
  }
  return group;
}

const char* hint(int signo, bool out_of_memory) {
  if (signo == SIGKILL && out_of_memory) return " (probably by the kernel, which was out of memory)";
  if (signo == SIGXCPU) return " (it reached the limit of its processor time)";
  if (signo == SIGXFSZ) return " (it reached the limit of a file's size)";
  return "";
}

/// SIGXCPU comes first; SIGKILL a second later to who ignores it.
bool used_up_cpu(const ResourceLimits& limits, const WorkerExit& exit) {
  if (limits.cpu.count() == 0 || !exit.status_known || !WIFSIGNALED(exit.status)) return false;
  if (WTERMSIG(exit.status) == SIGXCPU) return true;
  const rusage& usage = exit.usage;
  const auto used = std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  return WTERMSIG(exit.status) == SIGKILL && used > limits.cpu;
}

/// Empty, or ": its cpu_limit of 2 s was used up" and the like.
std::string limit_note(const ResourceLimits& limits, const WorkerExit* exit) {
  if (exit && used_up_cpu(limits, *exit))
    return ": its cpu_limit of " + std::to_string(limits.cpu.count()) + " s was used up";
  if (limits.memory != 0) return " with a memory_limit of " + std::to_string(limits.memory) + " bytes";
  return {};
}

std::chrono::nanoseconds between(std::int64_t from, std::int64_t to) {
  return std::chrono::nanoseconds(std::max<std::int64_t>(to - from, 0));
}

}  // namespace

std::uint64_t OutOfMemoryKills::read() noexcept {
  std::uint64_t count = 0;
  try {
    const std::string group = control_group();
    if (!group.empty() && read_number(fmt::format("/sys/fs/cgroup{}/memory.events", group).c_str(), "oom_kill", count))
      return count;
  } catch (const std::bad_alloc&) {
  }
  read_number("/proc/vmstat", "oom_kill", count);
  return count;
}

bool OutOfMemoryKills::rose() noexcept {
  const std::uint64_t before = count_;
  count_ = read();
  return count_ > before;
}

int exit_code(const WorkerExit* exit) {
  if (!exit || !exit->status_known) return -SIGKILL;
  return WIFSIGNALED(exit->status) ? -WTERMSIG(exit->status) : WEXITSTATUS(exit->status);
}

std::string describe_end(pid_t pid, const WorkerExit* exit) {
  if (!exit || !exit->status_known) return fmt::format("worker {} died with the process that forked it", pid);
  if (!WIFSIGNALED(exit->status)) return fmt::format("worker {} exited with status {}", pid, WEXITSTATUS(exit->status));
  const int number = WTERMSIG(exit->status);
  if (const char* const abbreviation = ::sigabbrev_np(number))
    return fmt::format("worker {} was killed by SIG{}", pid, abbreviation);
  return fmt::format("worker {} was killed by signal {}", pid, number);
}

std::exception_ptr worker_died(pid_t pid, const WorkerExit* exit, const std::string& task_name,
                               const ResourceLimits& limits, const Crash& crash, bool out_of_memory,
                               const std::optional<TaskUsage>& usage) {
  const int code = exit_code(exit);
  std::string what = describe_end(pid, exit);
  ExceptionOrigin origin{pid, task_name, {}};
  const bool signalled = exit && exit->status_known && code < 0;
  // What the worker says of another signal than the one that ended it, it has survived.
  const bool reported = signalled && crash.signal == -code;
  if (reported) what += describe_fault(crash);
  if (signalled && !used_up_cpu(limits, *exit)) what += hint(-code, out_of_memory);
  what += " while it executed " + task_name + limit_note(limits, exit);
  if (reported && !crash.stack.empty()) {
    what += '\n';
    what += describe_stack(crash.stack);
    origin.stack = crash.stack;
  }
  if (exit && !exit->last_stderr.empty()) what += "\nits standard error:\n" + exit->last_stderr;
  return make_exception_from(WorkerDied(what, pid, code, task_name, usage), std::move(origin));
}

TaskUsage usage_at_end(const WorkerExit& exit, const ipc::TaskSender& sender, std::int64_t submitted_at,
                       std::int64_t begun_at, std::int64_t now) {
  const ipc::TaskSender::Times before = sender.times_at_begin();
  TaskUsage usage;
  usage.pid = exit.pid;
  if (submitted_at != 0) usage.queued = between(submitted_at, begun_at);
  usage.wall = between(begun_at, now);
  const auto since = [](std::int64_t begin, std::int64_t end) {
    return std::chrono::nanoseconds(end - std::clamp<std::int64_t>(begin, 0, std::max<std::int64_t>(end, 0)));
  };
  usage.user = since(before.user, user_time(exit.usage));
  usage.system = since(before.system, system_time(exit.usage));
  usage.max_rss = static_cast<std::size_t>(peak_memory(exit.usage));
  return usage;
}

}  // namespace cofork::detail
