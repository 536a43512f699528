// One blocking call as an awaitable: to_thread() for functions that give a task. Not for users.
#pragma once

#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/this_context.hpp>
#include <cofork/runtime/to_thread.hpp>
#include <type_traits>
#include <utility>

namespace cofork::detail {

/// `co_await CancellationPoint()` throws `CancelledError` in a cancelled coroutine, and goes on at once in others.
struct CancellationPoint : ThisContext {
  void await_resume() const {
    if (context && context->cancelled()) throw CancelledError();
  }
};

/// Calls `function`, which owns all that it touches, on a thread of libuv's pool. Cancelling takes it back if no thread
/// has begun; otherwise it waits for its end, and what it gave is delivered.
template <class F>
Task<std::invoke_result_t<F>> in_thread(F function) {
  co_await CancellationPoint();
  Future<std::invoke_result_t<F>> call = to_thread(std::move(function));
  co_return co_await std::move(call);
}

}  // namespace cofork::detail
