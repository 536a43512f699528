// Barrier: coroutines that wait for one another.
#pragma once

#include <cofork/runtime/sleep.hpp>
#include <coroutine>
#include <cstddef>

namespace cofork {

class Barrier;

namespace detail {

class [[nodiscard("co_await it")]] BarrierAwaiter {
 public:
  explicit BarrierAwaiter(Barrier & barrier) noexcept : barrier_(barrier) {}
  /// Only before it is awaited.
  BarrierAwaiter(const BarrierAwaiter& other) noexcept : barrier_(other.barrier_) {}

  bool await_ready() noexcept;
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return suspend(handle, context_of(handle));
  }
  std::size_t await_resume() const;

  operator Task<std::size_t>() const { return as_task<std::size_t>(*this); }

 private:
  friend class cofork::Barrier;
  struct Node : Waiter {
    ~Node() { leave(); }
    void leave() noexcept;

    Barrier* barrier = nullptr;  // that counts it
    std::size_t index = 0;
  };

  bool suspend(std::coroutine_handle<> handle, Context * context) noexcept;

  Barrier& barrier_;
  Node node_;
  bool interrupted_ = false;
};

}  // namespace detail

/// Lets coroutines of one loop go on only when `parties` of them have come; then it begins anew (`asyncio.Barrier`). It
/// must outlive those who wait for it; if it is destroyed before, they are left to their cancellation.
class Barrier {
 public:
  /// `std::invalid_argument` for 0, or what was a negative number.
  explicit Barrier(std::size_t parties);
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;
  ~Barrier();

  /// Waits for the others. Each gets another index, from 0 to `parties` - 1, in the order in which they came.
  /// Cancelling ends the wait at once and leaves the barrier: another one has to come. If all have come, it is too late
  /// for that.
  detail::BarrierAwaiter wait() noexcept { return detail::BarrierAwaiter(*this); }

 private:
  friend class detail::BarrierAwaiter;
  void open() noexcept;

  const std::size_t parties_;
  std::size_t arrived_ = 0;
  detail::List<detail::Waiter> waiters_;
};

}  // namespace cofork
