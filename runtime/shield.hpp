// shield(): waiting for work without stopping it when the waiter is cancelled.
#pragma once

#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/to_task.hpp>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {

template <class T>
Task<T> shield_task(Task<T> task) {
  Future<T> future = spawn(std::move(task));
  co_return co_await FutureAwaiter<T, true, false>(shared_state(future));
}

template <class T, bool consume>
Task<std::conditional_t<consume, T, std::add_lvalue_reference_t<T>>> shield_future(IntrusivePtr<FutureState<T>> state) {
  co_return co_await FutureAwaiter<T, consume, false>(std::move(state));
}

}  // namespace detail

/// What `awaitable` gives; but cancelling the awaiter does not cancel the work (`asyncio.shield`). The awaiter gets its
/// `CancelledError` at once and the work goes on by itself: a future's as before, anything else as if it had been
/// spawned (so it starts in the turn after the await, and an error that nobody waits for any more goes unseen). Only
/// the end of `run()` still cancels it.
///
/// An rvalue is owned; an lvalue `Future` is borrowed and gives a `T&`.
template <detail::Combinable A>
Task<await_result_t<A>> shield(A&& awaitable) {
  if constexpr (detail::is_future<std::remove_reference_t<A>>)
    return detail::shield_future<typename std::remove_reference_t<A>::value_type, !std::is_lvalue_reference_v<A>>(
        detail::shared_state(awaitable));
  else
    return detail::shield_task(detail::to_task<await_result_t<A>>(std::forward<A>(awaitable)));
}

}  // namespace cofork
