// Pool: multiprocessing.Pool's words for a ProcessPoolExecutor.
#pragma once

#include <cofork/executors/pool_callbacks.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/this_context.hpp>
#include <cstddef>
#include <exception>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace cofork {

namespace detail {

/// All the results of a map; nothing if they are void.
template <class R>
using AllResults = std::conditional_t<std::is_void_v<R>, void, std::vector<ResultValue<R>>>;

/// Waits for every item, also when some fail, and then throws the error of the first that did.
template <class R>
Task<AllResults<R>> all_results(Stream<R> stream) {
  Context* const context = co_await ThisContext{};
  std::vector<ResultValue<R>> values;
  std::exception_ptr first_error;
  for (bool more = true; more;) {
    try {
      auto value = co_await stream.next();
      more = static_cast<bool>(value);
      if constexpr (!std::is_void_v<R>)
        if (value && !first_error) values.push_back(std::move(*value));
    } catch (...) {
      if (context && context->cancelled()) throw;
      if (!first_error) first_error = std::current_exception();
    }
  }
  if (first_error) std::rethrow_exception(first_error);
  if constexpr (!std::is_void_v<R>) co_return values;
}

/// A range that outlives the call: a copy of one that was passed as an lvalue.
template <class R>
auto owned_range(R&& range) {
  if constexpr (std::is_lvalue_reference_v<R>) {
    std::vector<std::ranges::range_value_t<R>> copy;
    for (auto&& item : range) copy.emplace_back(std::forward<decltype(item)>(item));
    return copy;
  } else {
    return std::forward<R>(range);
  }
}

/// The chunk size of `imap`: `std::invalid_argument` for 0.
MapOptions imap_options(std::size_t chunksize, bool ordered);

}  // namespace detail

/// A pool of worker processes with the interface and the rules of `multiprocessing.Pool`, which is
/// `ProcessPoolExecutor` in other words: that says what functions it runs, what they take and give, and what happens
/// when a worker dies.
///
/// What Python returns at once returns a `Future` or a `Stream` here, what blocks there is a `Task`; the work begins at
/// the call. `AsyncResult.get`, `ready` and `wait` are `co_await`, `done()` and `wait_for`. Chunk sizes of 0 are chosen
/// from the measured time of the items.
///
/// Where it differs: a task whose worker dies fails with `WorkerDied` and is not waited for in vain; an initializer
/// that keeps failing breaks the pool (`BrokenProcessPool`); pools may be nested; and `imap` pulls its input as results
/// are taken.
class Pool {
 public:
  /// With as many processes as can run in parallel.
  Pool() = default;
  /// `std::invalid_argument` for 0.
  explicit Pool(unsigned processes) : executor_(processes) {}
  /// `max_tasks_per_child` is `maxtasksperchild`.
  explicit Pool(PoolOptions options) : executor_(options) {}
  /// Each worker first calls `initializer(initargs...)`.
  template <class F, class... A>
  requires std::invocable<F, A...> Pool(PoolOptions options, F initializer, A... initargs)
      : executor_(options, std::move(initializer), std::move(initargs)...) {}
  Pool(Pool&&) = delete;
  /// As the end of Python's `with`: terminates. What has not ended ends with `CancelledError`.
  ~Pool() = default;

  /// What `function(arguments...)` gives. `InvalidStateError` after `close` or `terminate`, here as in all that
  /// follows.
  template <class F, class... A>
  requires std::invocable<F, A...>
  auto apply(F function, A... arguments) {
    return result_of(executor_.submit(std::move(function), std::move(arguments)...));
  }
  template <class F, class... A>
  requires std::invocable<F, A...>
  auto apply_async(F function, A... arguments) {
    return executor_.submit(std::move(function), std::move(arguments)...);
  }
  /// `AsyncCallbacks(on_result, on_error)`: see there.
  template <class OnResult, class OnError, class F, class... A>
  requires std::invocable<F, A...>
  auto apply_async(AsyncCallbacks<OnResult, OnError> callbacks, F function, A... arguments) {
    return std::move(callbacks).attach_to(executor_.submit(std::move(function), std::move(arguments)...));
  }

  /// The results of all items, in their order, in a vector. It waits for every item, also when some fail, and throws
  /// the error of the first that did. A range given as an lvalue must outlive the task.
  template <class F, std::ranges::input_range R>
  auto map(F function, R&& range, std::size_t chunksize = 0) {
    return detail::all_results(map_items(std::move(function), std::forward<R>(range), chunksize));
  }
  /// The same as a future. A range given as an lvalue is copied.
  template <class F, std::ranges::input_range R>
  auto map_async(F function, R&& range, std::size_t chunksize = 0) {
    return spawn(map(std::move(function), detail::owned_range(std::forward<R>(range)), chunksize));
  }
  template <class OnResult, class OnError, class F, std::ranges::input_range R>
  auto map_async(AsyncCallbacks<OnResult, OnError> callbacks, F function, R&& range, std::size_t chunksize = 0) {
    return std::move(callbacks).attach_to(map_async(std::move(function), std::forward<R>(range), chunksize));
  }

  /// `map` over a range of tuples, each of which holds the arguments of one call.
  template <class F, std::ranges::input_range R>
  auto starmap(F function, R&& tuples, std::size_t chunksize = 0) {
    return detail::all_results(starmap_items(std::move(function), std::forward<R>(tuples), chunksize));
  }
  template <class F, std::ranges::input_range R>
  auto starmap_async(F function, R&& tuples, std::size_t chunksize = 0) {
    return spawn(starmap(std::move(function), detail::owned_range(std::forward<R>(tuples)), chunksize));
  }
  template <class OnResult, class OnError, class F, std::ranges::input_range R>
  auto starmap_async(AsyncCallbacks<OnResult, OnError> callbacks, F function, R&& tuples, std::size_t chunksize = 0) {
    return std::move(callbacks).attach_to(starmap_async(std::move(function), std::forward<R>(tuples), chunksize));
  }

  /// The results as a stream, in the order of the input or as they complete; the error of an item is thrown in its
  /// place, and the stream goes on. A range given as an lvalue must outlive the stream. A chunk size of 0 is
  /// `std::invalid_argument`.
  template <class F, std::ranges::input_range R>
  auto imap(F function, R&& range, std::size_t chunksize = 1) {
    return executor_.map(detail::imap_options(chunksize, true), std::move(function), std::forward<R>(range));
  }
  template <class F, std::ranges::input_range R>
  auto imap_unordered(F function, R&& range, std::size_t chunksize = 1) {
    return executor_.map(detail::imap_options(chunksize, false), std::move(function), std::forward<R>(range));
  }

  /// No further work is accepted; what was is done, and then the workers end. An `imap` whose input does not know its
  /// size throws `InvalidStateError` where it has come to, and ends.
  void close();
  /// Ends the workers at once: SIGTERM, and after the `grace` of the pool SIGKILL. What has not ended ends with
  /// `CancelledError`.
  void terminate();
  /// Waits until all of the work has ended and every worker is reaped. `std::logic_error` before `close` or
  /// `terminate`.
  Task<> join();

 private:
  template <class R>
  static Task<R> result_of(Future<R> future) {
    co_return co_await std::move(future);
  }
  template <class F, class R>
  auto map_items(F&& function, R&& range, std::size_t chunksize) {
    MapOptions options;
    options.chunksize = chunksize;
    return executor_.map(options, std::move(function), std::forward<R>(range));
  }
  template <class F, class R>
  auto starmap_items(F&& function, R&& tuples, std::size_t chunksize) {
    MapOptions options;
    options.chunksize = chunksize;
    return executor_.starmap(options, std::move(function), std::forward<R>(tuples));
  }

  ProcessPoolExecutor executor_;
  bool running_ = true;
};

}  // namespace cofork
