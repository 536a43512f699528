// Condition: wait, without the lock, until another coroutine has changed what the lock protects.
#pragma once

#include <cofork/runtime/guard.hpp>
#include <coroutine>

namespace cofork {

class Condition;

namespace detail {

/// Two waits in one: for a notification (or the cancellation), then for the lock.
class [[nodiscard("co_await it")]] ConditionAwaiter {
 public:
  ConditionAwaiter(Condition & condition, Guard & guard) noexcept : node_(condition), guard_(guard) {}
  /// Only before it is awaited.
  ConditionAwaiter(const ConditionAwaiter& other) noexcept : ConditionAwaiter(other.node_.condition, other.guard_) {}
  ~ConditionAwaiter();

  bool await_ready() const;
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return suspend(handle, context_of(handle));
  }
  void await_resume();

  operator Task<>() const { return as_task<void>(*this); }

 private:
  friend class cofork::Condition;
  enum class Stage : unsigned char { idle, waiting, notified, cancelled };
  struct Node : Permits::Taker {
    explicit Node(Condition& owner) noexcept : condition(owner) {}
    void relock(Stage reason) noexcept;

    Condition& condition;
    Stage stage = Stage::idle;
  };

  bool suspend(std::coroutine_handle<> handle, Context * context) noexcept;
  static void on_cancel(Waiter & waiter) noexcept;

  Node node_;
  Guard& guard_;
};

}  // namespace detail

/// A lock, and the wait for what it protects to change, for the coroutines of one loop (`asyncio.Condition`). It must
/// outlive its guards and those who wait for it; if it is destroyed before, they are left to their cancellation.
class Condition {
 public:
  Condition() noexcept = default;

  /// As `Mutex::lock`.
  detail::AcquireAwaiter lock() noexcept { return {permits_, "a condition's lock"}; }

  /// Unlocks, waits for a notification, and locks again: `while (!predicate()) co_await condition.wait(guard);`.
  /// `guard`, of this condition's `lock()`, must stay where it is meanwhile; `std::logic_error` if it does not hold the
  /// lock.
  ///
  /// Cancelling ends the wait for the notification. The lock is taken again first, which is not interrupted, so that
  /// the guard holds it in any case; a notification that came before is delivered.
  detail::ConditionAwaiter wait(Guard& guard) noexcept { return {*this, guard}; }

  /// The first who waits, or all of them, go on when they have the lock again. The caller holds the lock,
  /// `std::logic_error` otherwise.
  void notify_one();
  void notify_all();

 private:
  friend class detail::ConditionAwaiter;
  void check_locked() const;
  void notify_first() noexcept;

  detail::Permits permits_{1, 1};
  detail::List<detail::Waiter> waiters_;
};

}  // namespace cofork
