// What the tests of the synchronisation between processes have in common.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cofork/executors/process.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/ipc/value.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <deque>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/forked.hpp"

namespace sync_test {

using namespace std::chrono_literals;
using cofork::Process;
using cofork::Task;
using Count = cofork::ipc::RawValue<std::atomic<int>>;

template <class F>
Process start(F target) {
  Process process(std::move(target));
  process.start();
  return process;
}

/// Runs `target(index)` in `n` children; whether all exited with 0.
template <class F>
bool run_in_processes(int n, F target) {
  std::deque<Process> processes;
  for (int i = 0; i < n; ++i) processes.push_back(start([target, i]() mutable { target(i); }));
  bool good = true;
  for (Process& process : processes) {
    process.blocking_join();
    good &= process.exitcode() == 0;
  }
  return good;
}

/// A child that runs `target` and is killed when it has counted itself.
template <class F>
void kill_when_counted(F target) {
  const Count there;
  Process process = start([target, there]() mutable {
    target([&there] { ++*there; });
    for (;;) ::pause();
  });
  const bool came = support::eventually([&] { return *there == 1; });
  process.kill();
  process.blocking_join();
  if (!came) throw std::runtime_error("the child did not get that far");
}

template <class F>
bool throws_logic_error(F&& f) {
  try {
    f();
  } catch (const std::logic_error&) {
    return true;
  }
  return false;
}

}  // namespace sync_test
