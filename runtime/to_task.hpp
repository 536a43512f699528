// Any awaitable as a task that owns it: what the combinators make of their arguments.
#pragma once

#include <cofork/runtime/awaitable.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/task.hpp>
#include <concepts>
#include <type_traits>
#include <utility>

namespace cofork::detail {

template <class A>
inline constexpr bool is_future = false;
template <class T>
inline constexpr bool is_future<Future<T>> = true;

/// What a combinator takes: an rvalue that can be awaited, which it owns, or an lvalue `Future`, which it borrows.
template <class A>
concept Combinable = requires {
  typename await_result_t<A>;
}
&&(std::is_lvalue_reference_v<A> ? is_future<std::remove_reference_t<A>>
                                 : std::move_constructible<std::remove_reference_t<A>>);

template <class R, class A>
Task<R> await_owned(A awaitable) {
  co_return co_await std::move(awaitable);
}

/// Shares the state, so that the future itself may be moved or dropped meanwhile.
template <class R, class T>
Task<R> await_borrowed(IntrusivePtr<FutureState<T>> state) {
  co_return co_await FutureAwaiter<T, false>(std::move(state));
}

template <class T>
IntrusivePtr<FutureState<T>> shared_state(const Future<T>& future) {
  return IntrusivePtr<FutureState<T>>(&FutureAccess::state(future));
}

/// `R` is what the awaitable gives, or its value where that is a reference.
template <class R, Combinable A>
Task<R> to_task(A&& awaitable) {
  if constexpr (std::is_same_v<A, Task<R>>)
    return std::move(awaitable);
  else if constexpr (std::is_lvalue_reference_v<A>)
    return await_borrowed<R>(shared_state(awaitable));
  else
    return await_owned<R, A>(std::move(awaitable));
}

}  // namespace cofork::detail
