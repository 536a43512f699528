// Condition: a lock, and waiting for a notification under it.
#pragma once

#include <atomic>
#include <chrono>
#include <cofork/ipc/lock_guard.hpp>
#include <cofork/ipc/lock_word.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <deque>
#include <optional>

namespace cofork::detail {

class ConditionState final : public GuardedState {
 public:
  static constexpr const char* name = "condition";

  ConditionState();
  explicit ConditionState(ipc::Reader& reader);
  ~ConditionState() override { leave(); }

  std::optional<Taken> try_take(const Context* line) override;
  bool give_back(std::uint64_t ticket) noexcept override;

  /// std::logic_error unless the guard holds the lock.
  void require_held(const ipc::LockGuard& guard, const char* function) const;
  /// Enters the waiters, with a number.
  std::uint64_t begin_wait();
  /// Takes a notification if there is one for this waiter, which has left then.
  bool take_notification(std::uint64_t waiter);
  /// Leaves without one; one that was meant for it goes to another.
  void leave_waiters(std::uint64_t waiter) noexcept;
  void notify(std::uint64_t n);

 private:
  /// Word 0 of a member is how many wait in that process and how many of them were notified: the oldest. Who is older
  /// only that process knows.
  struct Counts {
    std::uint32_t waiting = 0;
    std::uint32_t notified = 0;
  };
  struct Memory {
    LockWord lock;
    std::atomic<std::uint32_t> next;  ///< the place at which the next notification begins to look
  };
  LockWord& word() const noexcept { return state<Memory>().lock; }
  Counts counts(std::uint32_t place) noexcept;
  void set_counts(std::uint32_t place, Counts counts) noexcept;
  /// Under the lock; passes over the member at `except`.
  void give_notifications(std::uint64_t n, std::uint32_t except) noexcept;
  void member_gone(std::uint32_t place) noexcept override;
  std::deque<std::uint64_t>& waiters();

  std::deque<std::uint64_t> waiters_;  // of this process, oldest first; under the monitor's lock
  std::uint64_t last_waiter_ = 0;
  unsigned generation_ = fork_generation();
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// A condition variable between processes, with a lock of its own, which is not recursive
/// (`multiprocessing.Condition`). A handle: copies are the same condition.
///
/// `LockGuard guard = co_await condition.acquire(); while (!ready) co_await condition.wait(guard);`
///
/// Wake-ups may be spurious. When a process ends, notifications that it had not acted on yet go to others.
class Condition : public detail::StateHandle<detail::ConditionState> {
 public:
  Condition();
  explicit Condition(detail::IntrusivePtr<detail::ConditionState> state) : StateHandle(std::move(state)) {}

  /// The lock. Cancelling ends the wait at once; a lock that was taken is delivered.
  Task<LockGuard> acquire() const { return detail::acquire_guard(shared_state()); }
  /// The same without a loop, for plain threads; `std::logic_error` on a running loop's thread.
  LockGuard blocking_acquire() const;

  /// Unlocks `guard`, waits for a notification and locks it again; then `guard.owner_died()` is of this acquisition.
  /// `std::logic_error` if the guard does not hold this condition's lock. `guard` must live until the end of it.
  /// Cancelling ends the wait for the notification; the lock is waited for all the same, and `CancelledError` is thrown
  /// with it held.
  Task<> wait(LockGuard& guard) const;
  /// The same; false if there is no notification within `timeout`. It returns with the lock held in any case.
  Task<bool> wait(LockGuard& guard, std::chrono::nanoseconds timeout) const;
  /// The same without a loop, for plain threads; true if there was no timeout.
  bool blocking_wait(LockGuard& guard, std::optional<std::chrono::nanoseconds> timeout = std::nullopt) const;

  /// Wakes up to `n` of those who wait. The lock need not be held. Those who begin to wait later are not concerned.
  void notify(unsigned n = 1) const { state().notify(n); }
  void notify_all() const;
};

}  // namespace cofork::ipc
