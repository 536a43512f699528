// Event: a flag that coroutines wait for.
#pragma once

#include <cofork/runtime/sleep.hpp>
#include <coroutine>

namespace cofork {

class Event;

namespace detail {

class [[nodiscard("co_await it")]] EventAwaiter {
 public:
  explicit EventAwaiter(Event & event) noexcept : event_(event) {}
  /// Only before it is awaited.
  EventAwaiter(const EventAwaiter& other) noexcept : event_(other.event_) {}

  bool await_ready() const noexcept;
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return suspend(handle, context_of(handle));
  }
  void await_resume() const {
    if (interrupted_ || waiter_.cancelled()) throw CancelledError();
  }

  operator Task<>() const { return as_task<void>(*this); }

 private:
  bool suspend(std::coroutine_handle<> handle, Context * context) noexcept;

  Event& event_;
  Waiter waiter_;
  bool interrupted_ = false;
};

}  // namespace detail

/// A flag for the coroutines of one loop (`asyncio.Event`); clear at first. It must outlive those who wait for it; if
/// it is destroyed before, they are left to their cancellation.
class Event {
 public:
  Event() noexcept = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Sets it: everyone who waits goes on in the next turn, even if it is cleared before.
  void set() noexcept;
  void clear() noexcept { set_ = false; }
  bool is_set() const noexcept { return set_; }

  /// Waits until it is set; at once if it is. Cancelling ends the wait at once.
  detail::EventAwaiter wait() noexcept { return detail::EventAwaiter(*this); }

 private:
  friend class detail::EventAwaiter;
  detail::List<detail::Waiter> waiters_;
  bool set_ = false;
};

inline bool detail::EventAwaiter::await_ready() const noexcept { return event_.set_; }

}  // namespace cofork
