// Guard: a lock or a permit that is held, and the wait for one.
#pragma once

#include <cofork/runtime/permits.hpp>
#include <cofork/runtime/sleep.hpp>
#include <coroutine>
#include <utility>

namespace cofork {

namespace detail {
class AcquireAwaiter;
class ConditionAwaiter;
}  // namespace detail

/// Holds a `Mutex`, a permit of a `Semaphore` or the lock of a `Condition`, which must outlive it, until it is
/// destroyed or `unlock()` is called.
class [[nodiscard("a guard that is dropped unlocks at once")]] Guard {
 public:
  Guard(Guard && other) noexcept : permits_(std::exchange(other.permits_, nullptr)) {}
  Guard& operator=(Guard&& other) noexcept {
    if (this != &other) {
      if (permits_) permits_->give();
      permits_ = std::exchange(other.permits_, nullptr);
    }
    return *this;
  }
  ~Guard() {
    if (permits_) permits_->give();
  }

  /// Gives it back now, to the first who waits. `std::logic_error` if this guard holds nothing: it was unlocked or
  /// moved from, or a `Condition` waits with it.
  void unlock();

  /// Whether it holds something.
  explicit operator bool() const noexcept { return permits_ != nullptr; }

 private:
  friend class detail::AcquireAwaiter;
  friend class detail::ConditionAwaiter;
  explicit Guard(detail::Permits & permits) noexcept : permits_(&permits) {}

  detail::Permits* permits_;
};

namespace detail {

/// Waits for a permit. One that was handed over is delivered even if the coroutine is cancelled before it goes on, and
/// goes to the next if its frame is destroyed.
class [[nodiscard("co_await it")]] AcquireAwaiter {
 public:
  AcquireAwaiter(Permits & permits, const char* what) noexcept : permits_(permits), what_(what) {}
  /// Only before it is awaited.
  AcquireAwaiter(const AcquireAwaiter& other) noexcept : AcquireAwaiter(other.permits_, other.what_) {}
  ~AcquireAwaiter() {
    if (taker_.granted) permits_.give();
  }

  bool await_ready() noexcept { return taker_.granted = permits_.try_take(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return suspend(handle, context_of(handle));
  }
  Guard await_resume();

  operator Task<Guard>() const { return as_task<Guard>(*this); }

 private:
  bool suspend(std::coroutine_handle<> handle, Context * context) noexcept;

  Permits& permits_;
  const char* what_;
  Permits::Taker taker_;
};

}  // namespace detail

}  // namespace cofork
