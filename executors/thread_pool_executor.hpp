// ThreadPoolExecutor: functions run in threads.
#pragma once

#include <cofork/executors/default_options.hpp>
#include <cofork/executors/local_call.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/executors/thread_call.hpp>
#include <cofork/executors/thread_map.hpp>
#include <cofork/executors/thread_pool_core.hpp>
#include <cofork/executors/thread_stream.hpp>
#include <cofork/executors/zipped_ranges.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/stream.hpp>
#include <concepts>
#include <memory>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cofork {

struct ThreadPoolOptions {
  /// Threads at most; 0 means `min(32, available_parallelism() + 4)`. They are started when they are needed.
  unsigned max_workers = 0;
  /// Of the threads' names, as debuggers and `top -H` show them: `prefix_0`, `prefix_1`... (15 characters). Empty:
  /// "thread-pool".
  std::string_view thread_name_prefix{};
};

/// A pool of threads with the interface of `ProcessPoolExecutor` (`concurrent.futures.ThreadPoolExecutor`): for work
/// that blocks, or that computes over memory it shares with its caller. What crashes in it crashes the program.
///
/// It runs any callable, with captures, on arguments and results of any type. Both are moved to the thread, and what is
/// left of them is destroyed on the loop's thread. A function that returns `Task<R>` is run on a loop of its own in the
/// thread; its future can be stopped: `kill()`, a cancelled awaiter and a timeout cancel the coroutine. So can one that
/// returns `Stream<R>`: `submit` gives a stream then, whose producer is at most 64 values ahead of its consumer.
///
/// Nothing can stop a function that does not return a task. `Future::cancel()` and `kill()` succeed until a thread
/// executes it, which is what `running()` tells, and are false from then on. Cancelling a coroutine that awaits one
/// which is executed waits for its end, and delivers its value, as `to_thread` does. At its `timeout` the future ends
/// with `TimeoutError`, and the thread is not free before the function has returned. Nobody dies alone in a thread:
/// `retries` and `grace` have no meaning, and `memory_limit` and `cpu_limit` are `std::invalid_argument`.
///
/// Calls start in the order of submission within a priority. An idle thread is used before another one is started.
/// Use the pool from the thread of one loop, that on which it is first used; it must not be moved.
class ThreadPoolExecutor : public detail::WithDefaultOptions<ThreadPoolExecutor> {
 public:
  ThreadPoolExecutor() : ThreadPoolExecutor(ThreadPoolOptions{}) {}
  /// `std::invalid_argument` for 0.
  explicit ThreadPoolExecutor(unsigned max_workers);
  explicit ThreadPoolExecutor(ThreadPoolOptions options);
  ThreadPoolExecutor(ThreadPoolExecutor&&) = delete;
  /// Cancels what is pending, cancels the coroutines that run, and waits until all that is being executed has ended.
  /// The end of the loop does the same.
  ~ThreadPoolExecutor() { core_->terminate(); }

  // Each can be called without options, too.
  using detail::WithDefaultOptions<ThreadPoolExecutor>::submit;
  using detail::WithDefaultOptions<ThreadPoolExecutor>::map;
  using detail::WithDefaultOptions<ThreadPoolExecutor>::starmap;

  /// Runs `function(arguments...)` in a thread. Throws `InvalidStateError` after `shutdown`, `std::system_error` if no
  /// thread can be started, `std::logic_error` without a loop.
  template <class F, class... A>
  requires std::invocable<F, A...>
  auto submit(SubmitOptions options, F function, A... arguments) {
    detail::check_local(options);
    core_->check_open();
    if constexpr (detail::returns_stream<F, A...>)
      return submit_stream(options, std::move(function), std::move(arguments)...);
    else
      return submit_call<detail::CallResult<F, A...>>(options, std::move(function), std::move(arguments)...);
  }

  /// Runs `function` on the items of the ranges, one of each at a time, until the shortest ends. It begins at the call,
  /// and pulls its input as results are taken: never more than `buffersize` items are in flight or waiting to be taken,
  /// so that infinite ranges work. Ranges given as lvalues must outlive the stream; the items are copied. All calls
  /// share the one function object. The stream gives the results, in the order of the input (or as they complete);
  /// `next()` throws the error of the item whose turn it is, and goes on with the following one. An exception of the
  /// input itself comes in its place, and is the end. Closing or dropping the stream cancels what is pending. At the
  /// map's timeout `next()` throws `TimeoutError` and the map has ended, whatever threads still execute. `chunksize` is
  /// ignored: there is nothing to save. Throws as `submit`.
  template <class F, std::ranges::input_range... Rs>
  requires(sizeof...(Rs) > 0) && std::invocable<F&, std::ranges::range_value_t<Rs>...> auto map(MapOptions options,
                                                                                                F function,
                                                                                                Rs&&... ranges) {
    using Result = detail::CallResult<F&, std::ranges::range_value_t<Rs>...>;
    using Arguments = std::tuple<std::ranges::range_value_t<Rs>...>;
    using Input = detail::ZippedRanges<std::views::all_t<Rs>...>;
    return start<Result, F, detail::ThreadRangeMap<Result, F, Arguments, Input>>(
        options, std::move(function), Input(std::views::all(std::forward<Rs>(ranges))...));
  }
  /// The same over a stream: its values are awaited as there is room for them.
  template <class F, class T>
  requires std::invocable<F&, T>
  auto map(MapOptions options, F function, Stream<T> input) {
    using Result = detail::CallResult<F&, T>;
    return start<Result, F, detail::ThreadStreamMap<Result, F, T>>(options, std::move(function), std::move(input));
  }

  /// As `map`, over a range of tuples, each of which holds the arguments of one call.
  template <class F, std::ranges::input_range Rs>
  auto starmap(MapOptions options, F function, Rs&& tuples) {
    using Arguments = std::ranges::range_value_t<Rs>;
    using Result = detail::AppliedResult<F&, Arguments>;
    using Input = detail::TupleRange<std::views::all_t<Rs>>;
    return start<Result, F, detail::ThreadRangeMap<Result, F, detail::AsTuple<Arguments>, Input>>(
        options, std::move(function), Input(std::views::all(std::forward<Rs>(tuples))));
  }

  /// From the call on, no further work is accepted; the returned task waits until all of it has ended and every thread
  /// has, unless `wait` is false. What threads execute is not cancelled, ever. Idempotent. Cancelling the task ends the
  /// wait, not the shutdown.
  Task<> shutdown(ShutdownOptions options = {});

  /// `workers` are threads; none of them ever dies.
  PoolStats stats() const { return core_->stats(); }
  unsigned max_workers() const { return core_->max_workers(); }

 private:
  template <class Result, class F, class... A>
  Future<Result> submit_call(const SubmitOptions& options, F&& function, A&&... arguments) {
    using Call = detail::SubmittedThreadCall<Result, F, A...>;
    auto call = detail::make_intrusive<Call>(core_, options, std::move(function), std::move(arguments)...);
    call->start();
    return detail::FutureAccess::make<Result>(std::move(call));
  }

  template <class F, class... A>
  std::invoke_result_t<F, A...> submit_stream(SubmitOptions options, F function, A... arguments) {
    using Value = typename std::invoke_result_t<F, A...>::value_type;
    using Values = detail::ThreadStream<Value>;
    std::string name;
    if (options.name.empty()) options.name = name = detail::name_of_call(function);
    auto values = std::make_shared<Values>();
    Future<void> work = submit_call<void>(options, &Values::template produce<F, A...>, std::shared_ptr<Values>(values),
                                          std::tuple<F, A...>(std::move(function), std::move(arguments)...));
    return Stream<Value>(std::make_unique<detail::ThreadStreamSource<Value>>(std::move(values), std::move(work)));
  }

  template <class Result, class F, class Job, class Input>
  Stream<Result> start(const MapOptions& options, F&& function, Input&& input) {
    static_assert(!detail::is_stream<Result>, "a map's function must not return a Stream");
    core_->check_open();
    auto job = detail::make_intrusive<Job>(core_, options, std::move(function), std::forward<Input>(input));
    job->start();
    return Stream<Result>(std::make_unique<detail::MapStream<Result, Job>>(std::move(job)));
  }

  const detail::IntrusivePtr<detail::ThreadPoolCore> core_;
};

}  // namespace cofork
