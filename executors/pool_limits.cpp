#include <sys/wait.h>

#include <chrono>
#include <cofork/executors/pool_limits.hpp>
#include <csignal>

namespace cofork::detail {

namespace {

/// SIGXCPU comes first; SIGKILL a second later to who ignores it.
bool used_up_cpu(const ResourceLimits& limits, const WorkerExit& exit) {
  if (limits.cpu.count() == 0 || !exit.status_known || !WIFSIGNALED(exit.status)) return false;
  if (WTERMSIG(exit.status) == SIGXCPU) return true;
  const rusage& usage = exit.usage;
  const auto used = std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  return WTERMSIG(exit.status) == SIGKILL && used > limits.cpu;
}

}  // namespace

std::string limit_note(const ResourceLimits& limits, const WorkerExit* exit) {
  if (exit && used_up_cpu(limits, *exit))
    return ": its cpu_limit of " + std::to_string(limits.cpu.count()) + " s was used up";
  if (limits.memory != 0) return " with a memory_limit of " + std::to_string(limits.memory) + " bytes";
  return {};
}

}  // namespace cofork::detail
