// run(): a fresh loop on this thread for a main coroutine.
#pragma once

#include <cofork/runtime/task_runner.hpp>
#include <concepts>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {

/// Runs the loop until `*main_ended`, cancels and awaits what is left, and closes. The interrupt signal cancels `main`;
/// true if it did.
bool drive(Loop& loop, Context& main, const bool& main_ended);
[[noreturn]] void throw_interrupt(const std::exception_ptr& error);

template <class T>
class MainTask : private TaskRunner<T> {
 public:
  explicit MainTask(Task<T>&& task) : TaskRunner<T>(std::move(task), "main", &MainTask::ended) {}

  T run(uv_loop_s* borrowed) {
    bool interrupted;
    {
      Loop loop(borrowed);
      this->context().attach(&loop.root());
      start_.suspend(this->prepare(), nullptr, "its start", nullptr);
      loop.make_ready(start_);
      interrupted = drive(loop, this->context(), ended_);
    }
    if (interrupted && outcome_.has_error()) throw_interrupt(outcome_.error());
    return outcome_.take();
  }

 private:
  static void ended(TaskRunner<T>& runner) {
    auto& self = static_cast<MainTask&>(runner);
    self.outcome_ = self.take_outcome();
    self.free_frame();
    self.ended_ = true;
  }

  Waiter start_;
  Outcome<T> outcome_;
  bool ended_ = false;
};

template <class X>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<Task<T>> = true;

}  // namespace detail

/// Runs `main` on a fresh loop on this thread and gives its result (`asyncio.run`). When `main` ends, everything that
/// was spawned and still runs is cancelled and awaited, every pool that is still open is closed as its destructor does,
/// and the loop is closed.
///
/// SIGINT cancels `main`; when that then ends with the `CancelledError`, `run` throws `KeyboardInterrupt`. A second
/// SIGINT kills the program. That is so in the main thread, unless the program handles or ignores SIGINT itself; and
/// not while it watches SIGINT by `signals`.
///
/// `std::logic_error` inside a running loop. Not to be confused with running a program: `Subprocess`.
template <class T>
T run(Task<T> main) {
  return detail::MainTask<T>(std::move(main)).run(nullptr);
}

/// The same for what becomes a task: `run(sleep(1s))`.
template <detail::BecomesTask A>
await_result_t<A> run(A main) {
  return run(Task<await_result_t<A>>(std::move(main)));
}

/// The same for a callable that returns one of these; the callable, with its captures, lives until the end.
template <class F>
requires detail::BecomesTask<std::invoke_result_t<F&>>
decltype(auto) run(F main) { return run(main()); }

/// The same on a libuv loop of the caller's, which stays open, with whatever handles of theirs it has.
template <class T>
T run(uv_loop_s& borrowed, Task<T> main) {
  return detail::MainTask<T>(std::move(main)).run(&borrowed);
}

}  // namespace cofork
