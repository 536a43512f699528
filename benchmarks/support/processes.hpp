// Processes of the hand-written contestants, and where they run.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cofork/ipc/futex.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include <sched.h>

#include "compare.hpp"

namespace bench {

/// Runs the calling thread on this CPU only; anywhere if it is negative.
void pin(int cpu);

/// Two CPUs that this program may use, of different cores if there are such. Nothing if it may use only one.
std::optional<std::pair<int, int>> two_cpus();

/// The result of `body`, which runs in a process of its own: whatever it does to memory, affinity and descriptors ends
/// with it. `std::runtime_error` if it throws, dies, or takes minutes.
double in_child(const std::function<double()>& body);

/// Memory shared with the processes that are forked later.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t size);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void* data() const { return data_; }

 private:
  std::size_t size_;
  void* data_;
};

/// A `T` in shared memory.
template <class T>
class Shared {
 public:
  Shared() : memory_(sizeof(T)), value_(new (memory_.data()) T) {}
  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  SharedMemory memory_;
  T* value_;
};

/// A forked process that runs `body`. It ends with this object, and with this process.
class Partner {
 public:
  explicit Partner(const std::function<void()>& body);
  ~Partner();
  Partner(Partner&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Partner(const Partner&) = delete;
  Partner& operator=(const Partner&) = delete;

  /// Waits until `body` has returned; `std::runtime_error` if it has not ended well.
  void join();

 private:
  pid_t pid_;
};

/// In shared memory: how one side waits for the other. It polls with `sched_yield` for 20 us, and then sleeps.
class Doorbell {
 public:
  template <class Ready>
  void wait(Ready ready) {
    if (ready()) return;
    for (const auto until = Clock::now() + std::chrono::microseconds(20); Clock::now() < until;) {
      sched_yield();
      if (ready()) return;
    }
    for (;;) {
      asleep_.store(1, std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (ready()) break;
      cofork::ipc::futex_wait(asleep_, 1);
    }
    asleep_.store(0, std::memory_order_relaxed);
  }
  /// After what the other side waits for was stored. It costs a system call only if that side sleeps.
  void ring() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_relaxed) == 0 || asleep_.exchange(0) == 0) return;
    cofork::ipc::futex_wake(asleep_, 1);
  }

 private:
  std::atomic<std::uint32_t> asleep_{0};
};

}  // namespace bench
