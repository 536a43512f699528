// What can be awaited, and what that gives.
#pragma once

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {

template <class A>
concept MemberCoAwait = requires(A&& awaitable) {
  static_cast<A&&>(awaitable).operator co_await();
};
template <class A>
concept FreeCoAwait = requires(A&& awaitable) {
  operator co_await(static_cast<A&&>(awaitable));
};
template <class A>
concept AwaiterItself = requires(std::remove_reference_t<A>& awaiter) {
  { awaiter.await_ready() } -> std::convertible_to<bool>;
  awaiter.await_resume();
};

template <class A>
requires MemberCoAwait<A> || FreeCoAwait<A> || AwaiterItself<A>
decltype(auto) get_awaiter(A&& awaitable) {
  if constexpr (MemberCoAwait<A>)
    return static_cast<A&&>(awaitable).operator co_await();
  else if constexpr (FreeCoAwait<A>)
    return operator co_await(static_cast<A&&>(awaitable));
  else
    return static_cast<A&&>(awaitable);
}

/// An awaiter by reference: out of `await_transform` as a plain reference, g++ 12 would await a copy of it.
template <class A>
struct AwaiterReference {
  A&& awaiter;

  decltype(auto) await_ready() { return static_cast<A&&>(awaiter).await_ready(); }
  template <class Promise>
  decltype(auto) await_suspend(std::coroutine_handle<Promise> handle) {
    return static_cast<A&&>(awaiter).await_suspend(handle);
  }
  decltype(auto) await_resume() { return static_cast<A&&>(awaiter).await_resume(); }
};

}  // namespace detail

/// What `co_await` gives for an `A`: `T` for a `Task<T>` or a `Future<T>`, `T&` for a `Future<T>&`, a vector for a
/// `Stream<T>`.
template <class A>
using await_result_t = decltype(detail::get_awaiter(std::declval<A>()).await_resume());

}  // namespace cofork
