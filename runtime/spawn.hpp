// spawn(): starts a task that runs concurrently with the caller on the current loop.
#pragma once

#include <cofork/runtime/future.hpp>
#include <cofork/runtime/task_runner.hpp>

namespace cofork {

namespace detail {

/// A spawned coroutine as the work behind a future. It refers to itself until it has ended.
template <class T>
class SpawnedTask : public FutureState<T>, private TaskRunner<T> {
 public:
  SpawnedTask(Task<T>&& task, const char* name) : TaskRunner<T>(std::move(task), name, &SpawnedTask::ended) {}

  /// Starts in the next turn, in a context below `parent`.
  void start(Context& parent) {
    this->add_reference();
    this->context().attach(&parent);
    start_.task = this;
    start_.suspend(this->prepare(), &this->context(), "its start", [](Waiter& waiter) noexcept {
      auto& start = static_cast<Start&>(waiter);
      if (start.linked()) start.task->abandon();
    });
    current_loop->make_ready(start_);
  }

  bool cancel() override {
    if (this->done()) return this->cancelled();
    if (start_.linked())
      abandon();
    else
      this->context().cancel();
    return true;
  }
  bool kill() override { return !this->done() && cancel(); }
  bool running() const override { return !start_.linked(); }

  /// Ends it where it is suspended, as cancelled, by destroying its frames.
  void abandon() {
    if (this->done()) return;
    start_.unlink();
    TaskRunner<T>::abandon();
    end([this] { this->finish_cancelled(); });
  }

 protected:
  /// After the future is done.
  virtual void on_end() {}

 private:
  template <class F>
  void end(F finish) {
    finish();
    on_end();
    this->drop_reference();
  }

  static void ended(TaskRunner<T>& runner) {
    auto& self = static_cast<SpawnedTask&>(runner);
    Outcome<T> outcome = self.take_outcome();
    self.free_frame();
    self.end([&] {
      if (outcome.has_error())
        self.finish_with_error(outcome.error());
      else
        self.finish_value(std::move(outcome.value()));
    });
  }

  void finish_with_error(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const CancelledError&) {
      this->finish_cancelled();
    } catch (...) {
      this->finish_error(error);
    }
  }

  struct Start : Waiter {
    SpawnedTask* task = nullptr;
  };
  Start start_;  // linked until it has started
};

}  // namespace detail

/// Runs `task` concurrently on the current loop (`asyncio.create_task`); it starts in the next turn. The future's
/// `cancel()` and `kill()` cancel the coroutine, which then throws `CancelledError` where it waits; one that has not
/// started never does. Dropping the future detaches the task: it runs on until it ends or `run()` does, which cancels
/// it, and an exception it ends with then goes unseen. `std::logic_error` where no loop is running.
template <class T>
Future<T> spawn(Task<T> task) {
  Loop& loop = Loop::current();
  auto spawned = detail::make_intrusive<detail::SpawnedTask<T>>(std::move(task), "spawned task");
  spawned->start(loop.root());
  return detail::FutureAccess::make<T>(std::move(spawned));
}
/// The same for what becomes a task: `spawn(event.wait())`.
template <detail::BecomesTask A>
Future<await_result_t<A>> spawn(A awaitable) {
  return spawn(Task<await_result_t<A>>(std::move(awaitable)));
}

}  // namespace cofork
