// InlineExecutor: functions run where they are submitted.
#pragma once

#include <cofork/executors/default_options.hpp>
#include <cofork/executors/inline_call.hpp>
#include <cofork/executors/local_call.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/executors/zipped_ranges.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cofork {

/// The interface of `ProcessPoolExecutor` without anything behind it: functions are called by the caller, one after the
/// other, so that a debugger, a profiler or a sanitizer sees them where they were submitted.
///
/// `submit` calls the function and gives a finished future, with its value or its exception. A function that returns
/// `Task<R>` is spawned on the current loop, where it goes on also when the executor is destroyed, and its future can
/// be cancelled as any spawned coroutine's. One that returns `Stream<R>` makes `submit` give that stream. Any callable,
/// arguments and results will do.
///
/// A function that took longer than its `timeout` fails with `TimeoutError` when it has returned; a coroutine is
/// cancelled at that time. The other options are accepted and have no meaning, but `memory_limit` and `cpu_limit`,
/// which are `std::invalid_argument`.
class InlineExecutor : public detail::WithDefaultOptions<InlineExecutor> {
 public:
  InlineExecutor();
  InlineExecutor(InlineExecutor&&) = delete;

  // Each can be called without options, too.
  using detail::WithDefaultOptions<InlineExecutor>::submit;
  using detail::WithDefaultOptions<InlineExecutor>::map;
  using detail::WithDefaultOptions<InlineExecutor>::starmap;

  /// Calls `function(arguments...)`. Throws `InvalidStateError` after `shutdown`, and `std::logic_error` without a loop
  /// if the function returns a task.
  template <class F, class... A>
  requires std::invocable<F, A...>
  auto submit(SubmitOptions options, F function, A... arguments) {
    detail::check_local(options);
    core_->check_open();
    std::tuple<F, A...> call(std::move(function), std::move(arguments)...);
    if constexpr (detail::returns_stream<F, A...>) {
      using Value = typename std::invoke_result_t<F, A...>::value_type;
      return detail::inline_stream<Value>(std::move(call));
    } else {
      using Result = detail::CallResult<F, A...>;
      std::string name = options.name.empty() ? detail::name_of_call(std::get<0>(call)) : std::string(options.name);
      ++core_->stats.submitted;
      if constexpr (detail::returns_task<F, A...>)
        return spawn(
            detail::inline_task<Result>(detail::InlineCall(core_), std::move(call), options.timeout, std::move(name)));
      else
        return detail::inline_future<Result>(*core_, call, options.timeout, name);
    }
  }

  /// A stream that calls `function` on the items of the ranges, one of each at a time, until the shortest ends: each
  /// item when it is asked for. Ranges given as lvalues must outlive the stream; the items are copied. `next()` throws
  /// the error of its item, and goes on with the following one. An exception of the input itself comes in its place,
  /// and is the end. The map's timeout is looked at between the items. Throws as `submit`.
  template <class F, std::ranges::input_range... Rs>
  requires(sizeof...(Rs) > 0) && std::invocable<F&, std::ranges::range_value_t<Rs>...> auto map(MapOptions options,
                                                                                                F function,
                                                                                                Rs&&... ranges) {
    using Result = detail::CallResult<F&, std::ranges::range_value_t<Rs>...>;
    using Arguments = std::tuple<std::ranges::range_value_t<Rs>...>;
    using Input = detail::ZippedRanges<std::views::all_t<Rs>...>;
    return start<Result, Arguments>(options, std::move(function), Input(std::views::all(std::forward<Rs>(ranges))...));
  }
  /// The same over a stream.
  template <class F, class T>
  requires std::invocable<F&, T>
  auto map(MapOptions options, F function, Stream<T> input) {
    return start<detail::CallResult<F&, T>, std::tuple<T>>(options, std::move(function), std::move(input));
  }

  /// As `map`, over a range of tuples, each of which holds the arguments of one call.
  template <class F, std::ranges::input_range Rs>
  auto starmap(MapOptions options, F function, Rs&& tuples) {
    using Arguments = std::ranges::range_value_t<Rs>;
    using Input = detail::TupleRange<std::views::all_t<Rs>>;
    return start<detail::AppliedResult<F&, Arguments>, detail::AsTuple<Arguments>>(
        options, std::move(function), Input(std::views::all(std::forward<Rs>(tuples))));
  }

  /// From the call on, no further work is accepted; the returned task waits until the coroutines that were submitted
  /// have ended, unless `wait` is false. Maps go on: their items are called when they are asked for. Idempotent.
  Task<> shutdown(ShutdownOptions options = {});

  /// `workers` is always 0.
  PoolStats stats() const { return core_->stats; }
  /// 1: the caller.
  unsigned max_workers() const { return 1; }

 private:
  template <class Result, class Arguments, class F, class Input>
  Stream<Result> start(const MapOptions& options, F&& function, Input&& input) {
    static_assert(!detail::is_stream<Result>, "a map's function must not return a Stream");
    detail::check_options(options);
    core_->check_open();
    std::optional<std::uint64_t> size;
    if constexpr (requires { input.size(); }) size = input.size();
    return Stream<Result>(std::make_unique<detail::InlineMapSource<Result>>(
        detail::inline_items<Result, Arguments>(core_, options, detail::Clock::now(), std::move(function),
                                                std::forward<Input>(input)),
        size));
  }

  const detail::IntrusivePtr<detail::InlineCore> core_;
};

}  // namespace cofork
