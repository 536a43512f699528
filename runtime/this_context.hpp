// What a coroutine can learn of its own place in the tree of cancellation.
#pragma once

#include <cofork/runtime/context.hpp>
#include <cofork/runtime/errors.hpp>
#include <coroutine>
#include <stop_token>

namespace cofork {

namespace detail {

/// `co_await ThisContext{}` gives the context of the awaiting coroutine (null in a coroutine that is not the
/// library's).
struct ThisContext {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    context = context_of(handle);
    return false;
  }
  Context* await_resume() const noexcept { return context; }

  Context* context = nullptr;
};

struct CurrentStopToken : ThisContext {
  std::stop_token await_resume() const { return context ? context->stop_token() : std::stop_token(); }
};

}  // namespace detail

/// `std::stop_token token = co_await current_stop_token();` tells when the awaiting coroutine is cancelled, for code
/// that does not await: a long computation, a `std::stop_callback`.
inline detail::CurrentStopToken current_stop_token() noexcept { return {}; }

}  // namespace cofork
