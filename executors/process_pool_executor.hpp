// ProcessPoolExecutor: functions run in worker processes.
#pragma once

#include <cofork/executors/default_options.hpp>
#include <cofork/executors/map_input.hpp>
#include <cofork/executors/map_job.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/executors/parallelism.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/executors/streamed_call.hpp>
#include <cofork/executors/submitted_call.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/stream.hpp>
#include <concepts>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cofork {

/// A pool of persistent worker processes (`concurrent.futures.ProcessPoolExecutor`). A crash, a hang or a leak in a
/// task stays in its worker: the task's future tells, the worker is replaced, and nobody else notices.
///
/// It runs function pointers and captureless lambdas (or other empty function objects). Arguments and results travel by
/// their codec (`ipc/codec.hpp`), each argument converted to the type of its parameter; a parameter of type
/// `std::span<const T>` or `std::string_view` reads its argument in place.
///
/// A function that returns `Task<R>` is run on the worker's loop, which is made for the first such task and kept. What
/// the task leaves spawned is cancelled and awaited, as at the end of `run`. To stop such a task (`kill`, a timeout, a
/// cancelled awaiter, a map that is closed) is to cancel its coroutine; its worker is killed only if that has not ended
/// after the grace. A function that returns `Stream<R>`: see `submit`.
///
/// A worker starts with a copy of this process's memory as it was when the pool was first used (or at
/// `fork_server::start()`, if there was one), standard input at /dev/null, default signal handling and no descriptor
/// but 0, 1 and 2, and leads a process group of its own. What a task leaves in memory the worker's next task finds
/// there.
///
/// A worker may make a pool itself, up to ten pools deep; at the first use of a deeper one there is `Error`. When more
/// than 100 workers die within a second, and no task succeeds meanwhile, the pool pauses before it starts others,
/// longer after each death, up to half a second.
///
/// Exceptions of the standard library's and this library's types arrive as themselves, others as `RemoteError`.
///
/// Use it from the thread of one loop: that on which it is first used; it must not be moved. It outlives neither that
/// loop nor itself: what is still running then is cancelled, as by the destructor.
class ProcessPoolExecutor : public detail::WithDefaultOptions<ProcessPoolExecutor> {
 public:
  /// With as many workers as can run in parallel (see `PoolOptions::max_workers`).
  ProcessPoolExecutor() : ProcessPoolExecutor(PoolOptions{}) {}
  /// `std::invalid_argument` for 0.
  explicit ProcessPoolExecutor(unsigned max_workers);
  explicit ProcessPoolExecutor(PoolOptions options);
  /// Each worker first calls `initializer(initargs...)`. If that throws, or the worker dies of it, in several workers
  /// one after the other, the pool breaks: its futures and later calls get `BrokenProcessPool`, with the first error
  /// nested.
  template <class F, class... A>
  requires std::invocable<F, A...> ProcessPoolExecutor(PoolOptions options, F initializer, A... initargs)
      : core_(make_core(options)) {
    detail::check_function<F>();
    using Parameters = detail::Parameters<F, A...>;
    core_->set_initializer([initializer, held = std::make_shared<std::tuple<A...>>(std::move(initargs)...)](
                               ipc::TaskSender::Message& message) {
      std::apply([&](const A&... argument) { detail::encode_call<F, Parameters>(message, initializer, argument...); },
                 *held);
      return detail::remote_function<F, Parameters>();
    });
    if (options.prestart) core_->prestart();
  }
  ProcessPoolExecutor(ProcessPoolExecutor&&) = delete;
  /// Cancels what is pending, kills the workers with all that they started, and waits until they are reaped.
  ~ProcessPoolExecutor() { core_->terminate(); }

  // Each can be called without options, too.
  using detail::WithDefaultOptions<ProcessPoolExecutor>::submit;
  using detail::WithDefaultOptions<ProcessPoolExecutor>::map;
  using detail::WithDefaultOptions<ProcessPoolExecutor>::starmap;

  /// Runs `function(arguments...)` in a worker. Throws `InvalidStateError` after `shutdown`, `BrokenProcessPool` if no
  /// worker can be started, `std::logic_error` without a loop; an argument that cannot be encoded fails the future.
  /// What is moved in is destroyed here when it is encoded: a stream is open in the worker only. What is passed as an
  /// lvalue stays the caller's.
  ///
  /// It returns a `Future<R>`, also for a function that returns a `Task<R>`. For one that returns a `Stream<R>` it
  /// returns a `Stream<R>`, whose values arrive as the worker makes them: in order, and then its end or its exception.
  /// The worker is at most 256 values ahead of the consumer, and waits when it is 1 MiB ahead. Closing or dropping the
  /// stream ends the task, as `kill` ends that of a future; a cancelled `next()` loses no value. If the task is stopped
  /// or its worker dies, that is told after the values that arrived before: `TimeoutError` (its `timeout` includes the
  /// waiting for the consumer), `WorkerDied`, or `CancelledError` with the pool's end. It is run again, by `retries`,
  /// only until a value was given to the consumer. `shutdown` waits for the streams that were not closed.
  template <class F, class... A>
  requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
  auto submit(SubmitOptions options, F function, A&&... arguments) {
    detail::check_function<F>();
    using Result = detail::CallResult<F, std::decay_t<A>...>;
    using Parameters = detail::Parameters<F, A...>;
    using Held = detail::HeldArguments<Parameters, A...>;
    core_->check_open();
    if constexpr (detail::is_stream<std::remove_cvref_t<std::invoke_result_t<F, std::decay_t<A>...>>>) {
      using Value = typename Result::value_type;
      detail::check_result<Value>();
      using Call = detail::StreamedCall<Value, F, Parameters, Held>;
      auto call = detail::make_intrusive<Call>(core_, options, function);
      call->submit(std::forward<A>(arguments)...);
      return Stream<Value>(std::make_unique<detail::StreamedSource<Call>>(std::move(call)));
    } else {
      detail::check_result<Result>();
      using Call = detail::SubmittedCall<Result, F, Parameters, Held>;
      auto call = detail::make_intrusive<Call>(core_, options, function);
      call->submit(std::forward<A>(arguments)...);
      return detail::FutureAccess::make<Result>(std::move(call));
    }
  }

  /// Runs `function` on the items of the ranges, one of each at a time, until the shortest ends. It begins at the call,
  /// and pulls its input as results are taken: never more than `buffersize` items are in flight or waiting to be taken,
  /// so that infinite ranges work. Ranges given as lvalues must outlive the stream. The stream gives the results, in
  /// the order of the input (or as they complete); `next()` throws the error of the item whose turn it is, and goes on
  /// with the following one. An exception of the input itself comes in its place, and is the end. Closing or dropping
  /// the stream cancels what is outstanding. Throws as `submit`.
  template <class F, std::ranges::input_range... Rs>
  requires(sizeof...(Rs) > 0) && std::invocable<F, std::ranges::range_reference_t<Rs>...> auto map(MapOptions options,
                                                                                                   F function,
                                                                                                   Rs&&... ranges) {
    using Result = detail::CallResult<F, std::ranges::range_value_t<Rs>...>;
    using Parameters = detail::Parameters<F, std::ranges::range_value_t<Rs>...>;
    using Input = detail::ZippedRanges<std::views::all_t<Rs>...>;
    return start<Result, detail::RangeMap<Result, F, Parameters, Input>>(
        options, function, Input(std::views::all(std::forward<Rs>(ranges))...));
  }
  /// The same over a stream: its values are awaited as there is room for them.
  template <class F, class T>
  requires std::invocable<F, T>
  auto map(MapOptions options, F function, Stream<T> input) {
    using Result = detail::CallResult<F, T>;
    return start<Result, detail::StreamMap<Result, F, detail::Parameters<F, T>, T>>(options, function,
                                                                                    std::move(input));
  }

  /// As `map`, over a range of tuples, each of which holds the arguments of one call.
  template <class F, std::ranges::input_range Rs>
  auto starmap(MapOptions options, F function, Rs&& tuples) {
    using Applied = detail::Applied<F, std::ranges::range_value_t<Rs>>;
    using Input = detail::TupleRange<std::views::all_t<Rs>>;
    return start<typename Applied::Result,
                 detail::RangeMap<typename Applied::Result, F, typename Applied::Parameters, Input>>(
        options, function, Input(std::views::all(std::forward<Rs>(tuples))));
  }

  /// From the call on, no further work is accepted; the returned task waits until all of it has ended and every worker
  /// is reaped, unless `wait` is false. Idempotent. Cancelling the task ends the wait, not the shutdown.
  Task<> shutdown(ShutdownOptions options = {});

  /// Ends every worker with SIGTERM (after `grace` with SIGKILL), or with SIGKILL, and accepts no further work. Pending
  /// and running futures end with `CancelledError`, the running ones when their worker has died.
  void terminate_workers();
  void kill_workers();

  /// From now on there are `max_workers` workers at most. If they are more, those with the least to do leave when they
  /// have ended the call that they execute; if they may be more, they are started as soon as there is work for them.
  /// `std::invalid_argument` for 0, `InvalidStateError` after `shutdown`.
  void resize(unsigned max_workers) { core_->resize(max_workers); }

  PoolStats stats() const { return core_->stats(); }
  /// Of the workers that are running.
  std::vector<pid_t> worker_pids() const { return core_->worker_pids(); }
  unsigned max_workers() const { return core_->max_workers(); }

 private:
  friend class TraceRecorder;
  static detail::IntrusivePtr<detail::PoolCore> make_core(const PoolOptions& options);

  template <class Result, class Job, class F, class Input>
  Stream<Result> start(const MapOptions& options, F function, Input&& input) {
    detail::check_function<F>();
    detail::check_result<Result>();
    core_->check_open();
    auto job = detail::make_intrusive<Job>(core_, options, function, std::forward<Input>(input));
    job->start();
    return Stream<Result>(std::make_unique<detail::MapStream<Result, Job>>(std::move(job)));
  }

  detail::IntrusivePtr<detail::PoolCore> core_;
};

}  // namespace cofork
