// Calls in this process: what is common to threads and to the caller's own.
#pragma once

#include <cofork/executors/callable.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/outcome.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/this_context.hpp>
#include <exception>
#include <functional>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace cofork::detail {

/// `std::invalid_argument` for what makes no sense, or has none where there is no process of its own for the task.
void check_local(const SubmitOptions& options);
/// "NAME exceeded its timeout of 0.5 s".
std::exception_ptr timeout_error(const std::string& name, std::chrono::nanoseconds timeout);

/// What to call it in messages.
template <class F>
std::string name_of_call(const F& function) {
  if constexpr (is_function_pointer<F>)
    return function_name(reinterpret_cast<AnyFunction>(function));
  else
    return type_name(typeid(F));
}

template <class F, class... A>
inline constexpr bool returns_task = is_task<std::remove_cvref_t<std::invoke_result_t<F, A...>>>;
template <class F, class... A>
inline constexpr bool returns_stream = is_stream<std::remove_cvref_t<std::invoke_result_t<F, A...>>>;

/// The arguments of one call out of a range of tuples (pairs): what they are, and what the call gives.
template <class Tuple>
struct ArgumentsIn;
template <template <class...> class Tuple, class... A>
struct ArgumentsIn<Tuple<A...>> {
  using type = std::tuple<A...>;
  template <class F>
  using Result = CallResult<F, A...>;
};
template <class Tuple>
using AsTuple = typename ArgumentsIn<Tuple>::type;
template <class F, class Tuple>
using AppliedResult = typename ArgumentsIn<Tuple>::template Result<F>;

/// The function and its arguments, for one call: they are moved from.
template <class F, class... A>
decltype(auto) call_once(std::tuple<F, A...>& call) {
  return std::apply(
      [](F& function, A&... arguments) -> decltype(auto) {
        return std::invoke(std::move(function), std::move(arguments)...);
      },
      call);
}

/// What `call` gives, or throws.
template <class R, class Call>
void call_into(Outcome<R>& outcome, Call&& call) noexcept {
  try {
    if constexpr (std::is_void_v<R>) {
      call();
      outcome.set_value();
    } else {
      outcome.set_value(call());
    }
  } catch (...) {
    outcome.set_error(std::current_exception());
  }
}

/// Cancels what runs in a context of another thread's loop.
struct CancelThere {
  Loop& loop;
  Context* context;
  void operator()() const {
    loop.post([there = context] { there->cancel(); });
  }
};

/// Awaits the task that `call` gives; a request to stop, from whatever thread, cancels it.
template <class T>
Task<T> await_stoppable(const std::function<Task<T>()>& call, std::stop_token stop) {
  Context* const context = co_await ThisContext{};
  const std::stop_callback<CancelThere> watch(std::move(stop), CancelThere{Loop::current(), context});
  co_return co_await call();
}

/// The same on a loop of its own: for a thread that has none.
template <class R, class Call>
void run_into(Outcome<R>& outcome, Call&& call, const std::stop_token& stop) noexcept {
  call_into(outcome, [&] {
    const std::function make_task = [&call] { return call(); };
    return cofork::run(await_stoppable(make_task, stop));
  });
}

}  // namespace cofork::detail
