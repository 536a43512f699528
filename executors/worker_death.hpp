// How a worker ended, in words and numbers.
#pragma once

#include <sys/types.h>

#include <cofork/executors/crash_report.hpp>
#include <cofork/executors/fork_server.hpp>
#include <cofork/executors/resource_limits.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdint>
#include <string>

namespace cofork::detail {

/// Asks the kernel how many processes it has killed for want of memory: in this process's control group (version 2), or
/// else in the whole system.
class OutOfMemoryKills {
 public:
  OutOfMemoryKills() : count_(read()) {}
  /// Whether there were more since the last time.
  bool rose() noexcept;

 private:
  static std::uint64_t read() noexcept;
  std::uint64_t count_;
};

/// As `Process::exitcode`; -SIGKILL if nobody knows.
int exit_code(const WorkerExit* exit);
/// "worker 4711 was killed by SIGKILL"; null: with the process that forked it.
std::string describe_end(pid_t pid, const WorkerExit* exit);

/// The `WorkerDied` of a task that had these `limits`, with its `remote_info`. `usage` is what the task had used.
std::exception_ptr worker_died(pid_t pid, const WorkerExit* exit, const std::string& task_name,
                               const ResourceLimits& limits, const Crash& crash, bool out_of_memory,
                               const std::optional<TaskUsage>& usage);

/// Of the item that a worker was executing when it ended: from its beginning, as far as the worker's own word for that
/// can be true, to its end.
TaskUsage usage_at_end(const WorkerExit& exit, const ipc::TaskSender& sender, std::int64_t submitted_at,
                       std::int64_t begun_at, std::int64_t now);

}  // namespace cofork::detail
