// Waiting for time to pass, and for the others' turn.
#pragma once

#include <chrono>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <utility>

namespace cofork {

namespace detail {

/// An awaitable that gives `R`, as the task that API functions promise: for storing it, or passing it on.
template <class R, class Awaiter>
Task<R> as_task(Awaiter awaiter) {
  co_return co_await std::move(awaiter);
}

class [[nodiscard("co_await it")]] SleepAwaiter {
 public:
  explicit SleepAwaiter(std::chrono::nanoseconds duration) noexcept : time_(duration), from_now_(true) {}
  explicit SleepAwaiter(Clock::time_point deadline) noexcept : time_(deadline.time_since_epoch()), from_now_(false) {}
  /// Only before it is awaited.
  SleepAwaiter(const SleepAwaiter& other) noexcept : time_(other.time_), from_now_(other.from_now_) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspend(handle, context_of(handle));
  }
  void await_resume() const {
    if (cancelled_ || node_.cancelled()) throw CancelledError();
  }

  operator Task<>() const { return as_task<void>(*this); }

 private:
  bool suspend(std::coroutine_handle<> handle, Context * context);
  static void on_expiry(Timer & timer) noexcept;
  static void on_cancel(Waiter & waiter) noexcept;

  const std::chrono::nanoseconds time_;
  const bool from_now_;
  bool cancelled_ = false;
  struct Node : Waiter, Timer {};
  Node node_;
};

class [[nodiscard("co_await it")]] YieldAwaiter {
 public:
  YieldAwaiter() = default;
  YieldAwaiter(const YieldAwaiter&) noexcept {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    context_ = context_of(handle);
    if (context_ && context_->cancelled()) return false;
    waiter_.suspend(handle, nullptr, "its turn", nullptr);
    current_loop->make_ready(waiter_);
    return true;
  }
  void await_resume() const {
    if (context_ && context_->cancelled()) throw CancelledError();
  }

  operator Task<>() const { return as_task<void>(*this); }

 private:
  Waiter waiter_;
  Context* context_ = nullptr;
};

}  // namespace detail

/// Waits until `duration` has passed, never less; 0 or a negative one lets the others run once (`asyncio.sleep`).
/// The time counts from the await. Cancelling it ends the wait at once. Resolution: a millisecond.
inline detail::SleepAwaiter sleep(std::chrono::nanoseconds duration) { return detail::SleepAwaiter(duration); }

/// Waits until `deadline`. Cancelling it ends the wait at once.
inline detail::SleepAwaiter sleep_until(std::chrono::steady_clock::time_point deadline) {
  return detail::SleepAwaiter(deadline);
}

/// Lets every other ready coroutine run once (`asyncio.sleep(0)`). Throws `CancelledError` in a cancelled coroutine.
inline detail::YieldAwaiter yield_now() noexcept { return {}; }

}  // namespace cofork
