// Semaphore, BoundedSemaphore: a number of permits that processes share.
#pragma once

#include <atomic>
#include <chrono>
#include <cofork/ipc/lock_guard.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <optional>

namespace cofork::detail {

class SemaphoreState final : public GuardedState {
 public:
  static constexpr const char* name = "semaphore";

  SemaphoreState(unsigned value, bool bounded);
  explicit SemaphoreState(ipc::Reader& reader);

  std::optional<Taken> try_take(const Context* line) override;
  bool give_back(std::uint64_t ticket) noexcept override;
  /// Without a guard.
  bool try_acquire();
  void release(unsigned n);
  unsigned value();
  bool bounded() const noexcept { return counts().bounded.load() != 0; }

 private:
  struct Memory {
    /// The permits that are there or held by a guard; the latter are counted in word 0 of their process's member, so
    /// that they come back when that is cleared.
    std::atomic<std::int64_t> permits;
    std::atomic<std::int64_t> initial;
    std::atomic<std::uint32_t> bounded;
  };
  Memory& counts() const noexcept { return state<Memory>(); }
  /// Under the lock.
  std::int64_t available() noexcept;
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// A counter of permits that processes, threads and coroutines share (`multiprocessing.Semaphore`). A handle: copies
/// are the same semaphore.
///
/// A permit that a guard holds comes back when the guard is destroyed or its process ends, however that was. Those that
/// were taken by `try_acquire` come back by `release` only.
class Semaphore : public detail::StateHandle<detail::SemaphoreState> {
 public:
  explicit Semaphore(unsigned value = 1);
  explicit Semaphore(detail::IntrusivePtr<detail::SemaphoreState> state) : StateHandle(std::move(state)) {}

  /// Waits for a permit and takes it. Cancelling ends the wait at once; a permit that was taken is delivered.
  Task<LockGuard> acquire() const { return detail::acquire_guard(shared_state()); }
  /// The same without a loop, for plain threads; `std::logic_error` on a running loop's thread.
  LockGuard blocking_acquire() const;
  /// Nothing if there is no permit within `timeout`; a negative one counts as 0.
  std::optional<LockGuard> blocking_acquire(std::chrono::nanoseconds timeout) const;
  /// Takes one, without a guard, if there is one now.
  bool try_acquire() const;

  /// Adds `n` permits, whether they were taken before or not. `std::logic_error` beyond the initial value if it is
  /// bounded, and beyond the greatest number in any case; nothing is added then.
  void release(unsigned n = 1) const { state().release(n); }
  /// How many there are now (`get_value`).
  unsigned value() const { return state().value(); }

 protected:
  Semaphore(unsigned value, bool bounded);
};

/// A semaphore that never has more than its initial value (`multiprocessing.BoundedSemaphore`), whichever copy is used,
/// be it one as a `Semaphore`.
class BoundedSemaphore : public Semaphore {
 public:
  explicit BoundedSemaphore(unsigned value = 1) : Semaphore(value, true) {}
  explicit BoundedSemaphore(detail::IntrusivePtr<detail::SemaphoreState> state);
};

}  // namespace cofork::ipc
