// ForkExecutor: tasks in children that are forked at the call, with this process's memory as it is then.
#pragma once

#include <cofork/executors/default_options.hpp>
#include <cofork/executors/fork_core.hpp>
#include <cofork/executors/forked_call.hpp>
#include <cofork/executors/forked_map.hpp>
#include <cofork/executors/map_input.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/executors/parallelism.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/task.hpp>
#include <concepts>
#include <memory>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {
template <class R>
struct ForkedSubmission {
  using Result = R;
  using Call = ForkedCall<R>;
  using Handle = Future<R>;
  static Handle handle(IntrusivePtr<Call> call) { return FutureAccess::make<R>(std::move(call)); }
};
template <class T>
struct ForkedSubmission<Stream<T>> {
  using Result = T;
  using Call = ForkedStreamCall<T>;
  using Handle = Stream<T>;
  static Handle handle(IntrusivePtr<Call> call) { return Handle(std::make_unique<ForkedStream<T>>(std::move(call))); }
};

template <class T>
constexpr void check_owned_result() {
  if constexpr (!std::is_void_v<T>)
    static_assert(!ipc::is_view_v<T>, "the result of a task must own its contents: a view would dangle in the child");
}

template <class F, class... A>
auto submit_forked(IntrusivePtr<ForkCore> core, const SubmitOptions& options, F function, A&&... arguments) {
  using Submission = ForkedSubmission<CallResult<F, std::decay_t<A>...>>;
  check_owned_result<typename Submission::Result>();
  core->check_open();
  const std::string name = name_of_callable(function);
  auto body = std::make_unique<ForkedCallBody<F, std::decay_t<A>...>>(std::move(function),
                                                                      std::decay_t<A>(std::forward<A>(arguments))...);
  ForkCore& executor = *core;
  auto call = make_intrusive<typename Submission::Call>(std::move(core), options, std::move(body), name);
  executor.submit(*call);
  return Submission::handle(std::move(call));
}
}  // namespace detail

/// Runs tasks in forked children: any callable, which may capture anything, also by reference. A child is a copy of
/// this process (copy-on-write), forked at the call: it sees the memory as of that moment, whatever happens here later,
/// and what it changes there it changes for itself. Nothing is serialised on the way in; results travel by their codec
/// (`ipc/codec.hpp`). Python has no counterpart; `multiprocessing`'s fork start method comes closest.
///
/// `submit` forks one child for its task, `map` up to `max_workers()` for each call. The fork takes time in proportion
/// to the memory of this process (milliseconds per GiB); for tasks shorter than that a `ProcessPoolExecutor` is better.
///
/// A child has one thread. Where this process has several, what the others had locked at the call stays locked in the
/// child; a program that has them is told so once, on stderr. A child leads a process group of its own, has default
/// signal handling, standard input at /dev/null, no destructors or exit handlers of this process to run, and of the
/// descriptors those of the handles (queues, locks, connections) that the callable has captured or is given, and those
/// that a program started by `exec` would inherit. It ends with this process.
///
/// Exceptions arrive as those of a pool's workers do; a child that ends without a result is `WorkerDied`. Use it from
/// the thread of one loop: that on which it is first used; it must not be moved. It outlives neither that loop nor
/// itself: what is still running then is cancelled, as by the destructor.
class ForkExecutor : public detail::WithDefaultOptions<ForkExecutor> {
 public:
  /// With as many children at a time as can run in parallel.
  ForkExecutor() : ForkExecutor(available_parallelism()) {}
  /// `std::invalid_argument` for 0.
  explicit ForkExecutor(unsigned max_workers);
  ForkExecutor(ForkExecutor&&) = delete;
  /// Cancels what has not ended, kills the children with all that they started, and waits until they are reaped.
  ~ForkExecutor() { core_->terminate(); }

  // Each can be called without options, too.
  using detail::WithDefaultOptions<ForkExecutor>::submit;
  using detail::WithDefaultOptions<ForkExecutor>::map;
  using detail::WithDefaultOptions<ForkExecutor>::starmap;

  /// Runs `function(arguments...)` in a child that is forked now. Where `max_workers()` are at work it waits for its
  /// turn, by priority, with the memory as it is now. `Future::cancel` succeeds until its turn; `kill`, and cancelling
  /// a coroutine that awaits it, send SIGTERM and after `grace` SIGKILL. Limits apply from the turn on. With `retries`
  /// the child of another attempt is forked when the one before has died, from the memory as it is then: what the
  /// callable refers to must live until the future is done. Without, the callable is destroyed here before `submit`
  /// returns.
  ///
  /// A function that returns `Task<R>` runs on a loop in the child. One that returns `Stream<T>` gives a `Stream<T>`:
  /// values arrive in order, as they are produced; the child waits where the socket between is full. Closing the stream
  /// ends the child; streams are not retried.
  ///
  /// Throws `InvalidStateError` after `shutdown`, `std::logic_error` without a loop. If there can be no child the
  /// future ends with `std::system_error`.
  template <class F, class... A>
  requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
  auto submit(SubmitOptions options, F function, A&&... arguments) {
    return detail::submit_forked(core_, options, std::move(function), std::forward<A>(arguments)...);
  }

  /// Runs `function` on the items of the ranges, one of each at a time, until the shortest ends, in children of their
  /// own that are forked from a copy of this process that is made now. Items of ranges that have random access or a
  /// size are read in the children, where they lie in the copied memory: they are neither copied nor need a codec, and
  /// `function` may take them by reference; their number is fixed at the call, and what reading one throws is an error
  /// of that item alone. Items of other ranges, and of streams,
  /// are taken here as results are, so that infinite ones work, and travel by their codec.
  ///
  /// Results, options and errors are as of `ProcessPoolExecutor::map`; if the copy cannot be made, or dies, the stream
  /// gives `BrokenProcessPool` with the reason nested. The children end when the stream does, or is closed or dropped.
  template <class F, std::ranges::input_range... Rs>
  requires(sizeof...(Rs) > 0) && std::invocable<F&, std::ranges::range_reference_t<Rs>...> auto map(MapOptions options,
                                                                                                    F function,
                                                                                                    Rs&&... ranges) {
    if constexpr ((detail::Indexable<std::views::all_t<Rs>> && ...)) {
      return map_indices<detail::IndexedCall<false, F, std::views::all_t<Rs>...>>(
          options, std::move(function), std::views::all(std::forward<Rs>(ranges))...);
    } else {
      using Result = detail::CallResult<F&, std::ranges::range_value_t<Rs>...>;
      using Parameters = detail::Parameters<F, std::ranges::range_value_t<Rs>...>;
      using Input = detail::ZippedRanges<std::views::all_t<Rs>...>;
      using Job = detail::RangeMap<Result, detail::SnapshotFunction<F>, Parameters, Input>;
      return map_values<Result, Job>(options, std::move(function), Input(std::views::all(std::forward<Rs>(ranges))...));
    }
  }
  /// The same over a stream: its values are awaited as there is room for them.
  template <class F, class T>
  requires std::invocable<F&, T>
  auto map(MapOptions options, F function, Stream<T> input) {
    using Result = detail::CallResult<F&, T>;
    using Job = detail::StreamMap<Result, detail::SnapshotFunction<F>, detail::Parameters<F, T>, T>;
    return map_values<Result, Job>(options, std::move(function), std::move(input));
  }

  /// As `map`, over a range of tuples, each of which holds the arguments of one call.
  template <class F, std::ranges::input_range Rs>
  auto starmap(MapOptions options, F function, Rs&& tuples) {
    using View = std::views::all_t<Rs>;
    if constexpr (detail::Indexable<View>) {
      return map_indices<detail::IndexedCall<true, F, View>>(options, std::move(function),
                                                             std::views::all(std::forward<Rs>(tuples)));
    } else {
      using Applied = detail::Applied<F, std::ranges::range_value_t<Rs>>;
      using Job = detail::RangeMap<typename Applied::Result, detail::SnapshotFunction<F>, typename Applied::Parameters,
                                   detail::TupleRange<View>>;
      return map_values<typename Applied::Result, Job>(
          options, std::move(function), detail::TupleRange<View>(std::views::all(std::forward<Rs>(tuples))));
    }
  }

  /// From the call on, no further work is accepted; the returned task waits until all of it has ended and every child
  /// is reaped, unless `wait` is false. Idempotent. Cancelling the task ends the wait, not the shutdown.
  Task<> shutdown(ShutdownOptions options = {});

  /// `workers` are the children that there are now, those that wait for their turn included.
  PoolStats stats() const { return core_->stats(); }
  unsigned max_workers() const { return core_->max_workers(); }

 private:
  template <class Call, class F, class... Views>
  auto map_indices(const MapOptions& options, F function, Views... views) {
    using Returned = std::invoke_result_t<Call&, std::uint64_t>;
    using Result = typename detail::Unwrapped<Returned>::type;
    using Function = detail::SnapshotFunction<Call>;
    core_->check_open();
    std::string name = detail::name_of_callable(function);
    const auto target = std::make_unique<detail::SnapshotTarget<Call>>(std::move(function), std::move(views)...);
    if (const std::optional<std::uint64_t> size = target->callable.fix()) {
      using Input = detail::ZippedRanges<std::ranges::iota_view<std::uint64_t, std::uint64_t>>;
      using Job = detail::RangeMap<Result, Function, std::tuple<std::uint64_t>, Input>;
      return start<Result, Job>(options, *target, std::move(name), Input(std::views::iota(std::uint64_t{0}, *size)));
    }
    using Input = detail::ZippedRanges<std::ranges::iota_view<std::uint64_t>>;
    using Job = detail::RangeMap<Result, Function, std::tuple<std::uint64_t>, Input>;
    return start<Result, Job>(options, *target, std::move(name), Input(std::views::iota(std::uint64_t{0})));
  }

  template <class Result, class Job, class F, class Input>
  Stream<Result> map_values(const MapOptions& options, F function, Input input) {
    core_->check_open();
    std::string name = detail::name_of_callable(function);
    const auto target = std::make_unique<detail::SnapshotTarget<F>>(std::move(function));
    return start<Result, Job>(options, *target, std::move(name), std::move(input));
  }

  template <class Result, class Job, class C, class Input>
  Stream<Result> start(const MapOptions& options, detail::SnapshotTarget<C>& target, std::string name, Input input) {
    static_assert(!detail::is_stream<Result>, "a function that is mapped gives one value for each item, not a Stream");
    detail::check_owned_result<Result>();
    const detail::SnapshotScope<C> scope(target.callable);
    const detail::IntrusivePtr<detail::PoolCore> pool = core_->fork_pool(target);
    try {
      auto job = detail::make_intrusive<detail::SnapshotMap<Job>>(std::move(name), pool, options,
                                                                  detail::SnapshotFunction<C>(), std::move(input));
      job->start();
      return Stream<Result>(std::make_unique<detail::ForkedMapStream<Result>>(std::move(job), pool));
    } catch (...) {
      pool->terminate();
      throw;
    }
  }

  detail::IntrusivePtr<detail::ForkCore> core_;
};

/// Runs `function` in a child forked from this process when the task is awaited, as `ForkExecutor::submit` does, and
/// gives its result. Cancelling it ends the child, and waits for that. A function that gives a `Stream` is for
/// `submit`.
template <class F>
requires std::invocable<F> &&(!detail::is_stream<std::remove_cvref_t<std::invoke_result_t<F>>>)
    Task<detail::CallResult<F>> fork_call(F function) {
  auto core = detail::make_intrusive<detail::ForkCore>(1u);
  auto future = detail::submit_forked(std::move(core), SubmitOptions{}, std::move(function));
  co_return co_await std::move(future);
}

}  // namespace cofork
