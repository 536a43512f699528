// Lock: mutual exclusion between processes.
#pragma once

#include <atomic>
#include <chrono>
#include <cofork/ipc/lock_guard.hpp>
#include <cofork/ipc/lock_word.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <optional>

namespace cofork::detail {

class LockState : public GuardedState {
 public:
  static constexpr const char* name = "lock";

  explicit LockState(const char* what = name);
  explicit LockState(ipc::Reader& reader, const char* what = name);
  ~LockState() override { leave(); }

  std::optional<Taken> try_take(const Context* line) override;
  bool give_back(std::uint64_t ticket) noexcept override;
  void release();
  bool locked();
  /// Whether it was acquired in this thread, by whichever coroutine, and is still held.
  bool held_by_this_thread() noexcept;

 protected:
  struct Memory {
    LockWord lock;
  };
  void member_gone(std::uint32_t place) noexcept override { word().member_gone(place); }

 private:
  LockWord& word() const noexcept { return state<Memory>().lock; }
  std::atomic<std::uint64_t> thread_{0};
  std::atomic<std::uint64_t> ticket_of_thread_{0};
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// A lock that processes, threads and coroutines share (`multiprocessing.Lock`); it is not recursive. A handle: copies
/// are the same lock, in the processes that it was given to.
///
/// When a process ends while it holds the lock, however it ends, the next to acquire it gets it, and `owner_died()` of
/// that guard is true. Who waits is not queued: when the lock becomes free, any of them may get it.
class Lock : public detail::StateHandle<detail::LockState> {
 public:
  Lock();
  explicit Lock(detail::IntrusivePtr<detail::LockState> state) : StateHandle(std::move(state)) {}

  /// `LockGuard guard = co_await lock.acquire();` Cancelling ends the wait at once; a lock that was taken is delivered.
  Task<LockGuard> acquire() const { return detail::acquire_guard(shared_state()); }
  /// The same without a loop, for plain threads; `std::logic_error` on a running loop's thread.
  LockGuard blocking_acquire() const;
  /// Nothing if the lock is not free within `timeout`; a negative one counts as 0.
  std::optional<LockGuard> blocking_acquire(std::chrono::nanoseconds timeout) const;
  /// Takes it without a guard if it is free now: `release()` gives it back.
  bool try_acquire() const { return detail::try_take_now(state()).has_value(); }

  /// Gives it back, whoever holds it, in this process or in another; the holder's guard does nothing then.
  /// `std::logic_error` if nobody does.
  void release() const { state().release(); }
  /// Whether somebody holds it.
  bool locked() const { return state().locked(); }
};

}  // namespace cofork::ipc
