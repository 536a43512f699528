// What the tests of the process pool share: memory that workers and test see alike, and waiting for what workers do.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cstddef>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/forked.hpp"
#include "support/sanitizers.hpp"

namespace pool_test {

using namespace std::chrono_literals;

/// Counters that the workers of pools made later share with the test. One at a time.
class Shared {
 public:
  explicit Shared(std::size_t count = 64) : bytes_(count * sizeof(std::atomic<int>)) {
    void* const memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    counters_ = static_cast<std::atomic<int>*>(memory);
  }
  Shared(const Shared&) = delete;
  ~Shared() { ::munmap(static_cast<void*>(std::exchange(counters_, nullptr)), bytes_); }

  static std::atomic<int>& at(std::size_t index) { return counters_[index]; }
  std::atomic<int>& operator[](std::size_t index) const { return counters_[index]; }

 private:
  static inline std::atomic<int>* counters_ = nullptr;
  std::size_t bytes_;
};

inline void pause_for(std::chrono::nanoseconds duration) {
  const timespec time{duration.count() / 1'000'000'000, duration.count() % 1'000'000'000};
  ::nanosleep(&time, nullptr);
}

// For workers.

/// Waits until the counter is not zero.
inline void pass_gate(std::size_t gate) {
  while (Shared::at(gate) == 0) pause_for(200us);
}
/// Counts itself in `counter`, then waits until `gate` opens.
inline int wait_at_gate(int counter, int gate) {
  ++Shared::at(static_cast<std::size_t>(counter));
  pass_gate(static_cast<std::size_t>(gate));
  return counter;
}
inline int never_end(int counter) {
  ++Shared::at(static_cast<std::size_t>(counter));
  for (;;) pause_for(1h);
}
inline int square(int x) { return x * x; }
inline pid_t own_pid() { return ::getpid(); }

// For the test.

/// Waits until `condition` holds, while the loop runs; false if it does not in time.
template <class Condition>
cofork::Task<bool> until(Condition condition, std::chrono::milliseconds limit = 45s) {
  const auto end = std::chrono::steady_clock::now() + limit * support::slowdown;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) co_return false;
    co_await cofork::sleep(500us);
  }
  co_return true;
}

/// Waits until `condition` holds, while the loop runs; true if it did before `deadline`: then nothing that happened
/// until then can have come after it, however late the loop hears of what.
template <class Condition>
cofork::Task<bool> holds_before(std::chrono::steady_clock::time_point deadline, Condition condition) {
  while (!condition() && std::chrono::steady_clock::now() < deadline) co_await cofork::sleep(500us);
  co_return condition() && std::chrono::steady_clock::now() < deadline;
}

/// What the future ended with: an empty string if with a value, otherwise the error's `what()`.
template <class E, class T>
std::string error_of(cofork::Future<T>& future) {
  try {
    future.result();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another error: ") + error.what();
  }
  return "no error";
}

/// The pids of `count` workers: a worker can be at work before the pool hears of its start.
inline cofork::Task<std::vector<pid_t>> workers_of(cofork::ProcessPoolExecutor& pool, std::size_t count) {
  const bool known = co_await until([&] { return pool.worker_pids().size() >= count; });
  if (!known) throw std::runtime_error("workers that were started are not there");
  co_return pool.worker_pids();
}

/// The parent of a process, from /proc.
inline pid_t parent_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  pid_t parent = 0;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    if (std::fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1) parent = 0;
    std::fclose(file);
  }
  return parent;
}

}  // namespace pool_test
