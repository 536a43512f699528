// wait_for(): a time limit on anything that can be awaited.
#pragma once

#include <chrono>
#include <cofork/runtime/branches.hpp>
#include <cofork/runtime/this_context.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <utility>

namespace cofork {

namespace detail {

/// Cancels a context at a deadline.
class TimeLimit {
 public:
  TimeLimit(Context& context, std::chrono::nanoseconds limit);

  void start();
  void stop() noexcept { timer_.stop(); }
  bool exceeded() const noexcept { return timer_.exceeded; }
  /// Throws the `TimeoutError`.
  [[noreturn]] void fail() const;

 private:
  struct OwnTimer : Timer {
    explicit OwnTimer(Context& limited) noexcept : context(limited) {}
    static void expire(Timer& timer) noexcept;
    Context& context;
    bool exceeded = false;
  };

  OwnTimer timer_;
  std::chrono::nanoseconds limit_;
  Clock::time_point deadline_;
};

template <class R>
Task<R> wait_for_branch(Branch<R> work, std::chrono::nanoseconds limit) {
  Context* const parent = co_await ThisContext{};
  BranchGroup group(parent, "wait_for");
  TimeLimit time_limit(work.context(), limit);
  group.start(work);
  if (group.running()) time_limit.start();
  co_await group;
  time_limit.stop();
  if (time_limit.exceeded() && !group.parent_cancelled() && work.error() && is_cancellation(work.error()))
    time_limit.fail();
  co_return work.take();
}

}  // namespace detail

/// What `awaitable` gives, if that takes no longer than `limit` (`asyncio.wait_for`). An rvalue is owned; an lvalue
/// `Future` is borrowed and gives a `T&`.
///
/// When the time is over, the work is cancelled as by a cancelled awaiter (a `Future`'s is stopped, running or not),
/// and once it has ended `TimeoutError` is thrown; work that gives a value or another error in spite of it is taken at
/// its word. So is anything that cannot be cancelled, a function in a thread for one: `shield` it to go on without it.
/// A limit of 0 or less is over at once, but work that needs no waiting completes. The time counts from the await, in
/// the resolution of a millisecond.
///
/// Cancelling the awaiter cancels the work: `CancelledError` when it has ended, also if the time is over then, unless
/// it gives a value.
template <detail::Combinable A>
Task<await_result_t<A>> wait_for(A&& awaitable, std::chrono::nanoseconds limit) {
  using R = await_result_t<A>;
  return detail::wait_for_branch<R>(detail::Branch<R>(detail::to_task<R>(std::forward<A>(awaitable)), "wait_for"),
                                    limit);
}

}  // namespace cofork
