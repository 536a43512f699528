// LockGuard: a lock or a permit of this folder's that is held.
#pragma once

#include <cofork/ipc/monitor.hpp>
#include <cofork/ipc/monitor_wait.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <optional>

namespace cofork::ipc {
class LockGuard;
}  // namespace cofork::ipc

namespace cofork::detail {

/// A monitor of which something can be held.
class GuardedState : public Monitor {
 public:
  /// What was taken: `ticket` tells this acquisition from all others.
  struct Taken {
    std::uint64_t ticket;
    bool owner_died;
  };

  /// Takes it if it is free. `line` is the context of the coroutine that asks, null for a thread.
  virtual std::optional<Taken> try_take(const Context* line) = 0;
  /// Ends that acquisition; false if somebody has ended it before.
  virtual bool give_back(std::uint64_t ticket) noexcept = 0;

 protected:
  using Monitor::Monitor;
};

Task<ipc::LockGuard> acquire_guard(IntrusivePtr<GuardedState> state);
/// Nothing if the deadline passes before. `function` is the caller's name, for std::logic_error on a loop's thread.
std::optional<ipc::LockGuard> blocking_acquire_guard(GuardedState& state, const char* function, Deadline deadline);
/// Once more when owners that have ended were taken out.
std::optional<GuardedState::Taken> try_take_now(GuardedState& state);

}  // namespace cofork::detail

namespace cofork::ipc {

/// Holds a `Lock`, an `RLock`, a permit of a `Semaphore` or the lock of a `Condition` until it is destroyed or
/// `unlock()` is called. It may be moved to another coroutine or thread, but not to another process: in a forked child
/// a copy of it does nothing.
class [[nodiscard("a guard that is dropped unlocks at once")]] LockGuard {
 public:
  LockGuard(LockGuard && other) noexcept = default;
  LockGuard& operator=(LockGuard&& other) noexcept;
  ~LockGuard() { give_back(); }

  /// Whether the process that held the lock before ended without releasing it: what the lock protects may be half
  /// changed. It is told once, to the first who gets the lock after that.
  bool owner_died() const noexcept { return owner_died_; }

  /// Gives it back now. `std::logic_error` if this guard holds nothing: it was unlocked or moved from, somebody has
  /// called `release()` meanwhile, or it belongs to the parent of this process.
  void unlock();

  /// False when unlocked or moved from.
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }

  /// For the library.
  LockGuard(detail::IntrusivePtr<detail::GuardedState> state, detail::GuardedState::Taken taken) noexcept;
  bool holds(const detail::GuardedState& state) const noexcept;
  std::uint64_t ticket() const noexcept { return ticket_; }
  void taken_again(detail::GuardedState::Taken taken) noexcept;

 private:
  bool give_back() noexcept;

  detail::IntrusivePtr<detail::GuardedState> state_;
  std::uint64_t ticket_;
  unsigned generation_;
  bool owner_died_;
};

}  // namespace cofork::ipc
