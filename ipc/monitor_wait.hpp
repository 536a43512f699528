// Waiting until something holds in the memory of a monitor, with a loop and without.
#pragma once

#include <sched.h>

#include <chrono>
#include <cofork/ipc/blocking.hpp>
#include <cofork/ipc/monitor.hpp>
#include <cofork/runtime/context.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <coroutine>
#include <optional>
#include <utility>

namespace cofork::detail {

using Deadline = std::optional<Clock::time_point>;

/// None stays none; a negative timeout is over at once.
Deadline deadline_of(std::optional<std::chrono::nanoseconds> timeout);

/// Suspends until the monitor has changed since the last `announce`, or until the deadline.
class MonitorSleep {
 public:
  MonitorSleep(Monitor& monitor, Deadline deadline) : monitor_(monitor), deadline_(deadline) {}
  MonitorSleep(const MonitorSleep&) = delete;
  MonitorSleep& operator=(const MonitorSleep&) = delete;

  /// From now on a change is noticed: look whether it is still necessary to sleep.
  void announce();
  bool expired() const noexcept { return node_.expired; }
  Clock::time_point spin_end() const noexcept;

  bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspend(handle, context_of(handle));
  }
  void await_resume();

 private:
  struct Node : Waiter, Timer {
    bool expired = false;
  };
  bool suspend(std::coroutine_handle<> handle, Context* context);

  Monitor& monitor_;
  Deadline deadline_;
  Node node_;
  bool interrupted_ = false;
};

/// Waits until `attempt()`, which changes the memory as it should be or does nothing, returns true; false when the
/// deadline has passed before. Cancelling ends the wait at once; nothing happens between a successful attempt and the
/// return.
template <class F>
Task<bool> wait_until(IntrusivePtr<Monitor> monitor, F attempt, Deadline deadline) {
  if (attempt()) co_return true;
  waiting_for_others();
  MonitorSleep sleep(*monitor, deadline);
  // The loop goes on meanwhile: waking a sleeper costs more than looking again for a while.
  for (const Clock::time_point end = sleep.spin_end(); Clock::now() < end;) {
    ::sched_yield();
    co_await yield_now();
    if (attempt()) co_return true;
  }
  for (;;) {
    sleep.announce();
    if (attempt()) co_return true;
    if (sleep.expired()) co_return false;
    co_await sleep;
  }
}

/// Sleeps of a thread without a loop.
class BlockingSleep {
 public:
  BlockingSleep(Monitor& monitor, Deadline deadline);
  BlockingSleep(const BlockingSleep&) = delete;
  BlockingSleep& operator=(const BlockingSleep&) = delete;
  ~BlockingSleep();

  void announce();
  /// False when the deadline has passed.
  bool sleep();
  /// Lets others run, for some microseconds in all; false when it is better to sleep.
  bool spin() noexcept;

 private:
  Monitor& monitor_;
  Deadline deadline_;
  Clock::time_point spin_end_;
  ipc::Descriptor epoll_;
  std::vector<Monitor::Watched> watched_;
  std::uint64_t members_version_ = 0;
};

/// As `wait_until`, on a thread without a loop.
template <class F>
bool blocking_wait_until(Monitor& monitor, F attempt, Deadline deadline) {
  if (attempt()) return true;
  waiting_for_others();
  BlockingSleep sleep(monitor, deadline);
  while (sleep.spin())
    if (attempt()) return true;
  for (bool in_time = true;; in_time = sleep.sleep()) {
    sleep.announce();
    if (attempt()) return true;
    if (!in_time) return false;
  }
}

}  // namespace cofork::detail
