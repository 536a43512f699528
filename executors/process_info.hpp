// Who a process is among the processes that `Process` starts.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace cofork {

struct ProcessInfo {
  std::string name;
  pid_t pid = 0;
};

/// The calling process (`multiprocessing.current_process`). The program's first one is called `MainProcess`, the
/// workers of a pool `ForkPoolWorker-1`, `ForkPoolWorker-2`, ...; one that the program has forked itself has the name
/// of the process that it was forked from.
ProcessInfo current_process();

/// The process that started the calling one, or made the pool that it works for, with its name at that time; nothing in
/// the program's first process (`multiprocessing.parent_process`).
std::optional<ProcessInfo> parent_process();

/// The running children that this process started by `Process`, in the order of their start; those that have ended are
/// reaped, also when their `Process` is gone (`multiprocessing.active_children`). Any thread may call it.
std::vector<ProcessInfo> active_children();

}  // namespace cofork
