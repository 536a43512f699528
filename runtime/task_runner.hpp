// Runs one task in a context of its own and tells its owner when it has ended: below `run`, `spawn` and every
// combinator.
#pragma once

#include <cofork/runtime/callback_frame.hpp>
#include <cofork/runtime/task.hpp>

namespace cofork::detail {

template <class T>
class TaskRunner : private CallbackFrame {
 public:
  /// `ended` is called once, as the last act of the task: it may destroy the runner.
  using Ended = void (*)(TaskRunner&);

  TaskRunner(Task<T>&& task, const char* name, Ended ended)
      : CallbackFrame(&TaskRunner::resumed), context_(name), frame_(std::move(task.frame_)), ended_(ended) {
    if (!frame_) throw_no_task();
  }
  /// Only before it starts.
  TaskRunner(TaskRunner&& other) noexcept
      : CallbackFrame(&TaskRunner::resumed),
        context_(other.context_.name()),
        frame_(std::move(other.frame_)),
        ended_(other.ended_) {}
  ~TaskRunner() {
    if (frame_) abandon();
  }

  Context& context() noexcept { return context_; }

  /// Runs the task until it suspends, on this stack; `ended` may be called before it returns.
  void start(Context* parent) {
    context_.attach(parent);
    prepare().resume();
  }

  /// For a start from the ready queue: what to resume there. `attach` the context before.
  std::coroutine_handle<> prepare() noexcept {
    frame_.promise().context = &context_;
    frame_.promise().continuation = this->handle();
    return frame_.handle();
  }

  /// Ends the task where it is suspended, without resuming it: its frames are destroyed. `ended` is not called.
  void abandon() noexcept {
    if (current_loop) current_loop->forget(this->handle());
    frame_.reset();
    context_.detach();
  }

  /// After the end, once.
  Outcome<T> take_outcome() { return std::move(frame_.promise().outcome); }
  void free_frame() noexcept { frame_.reset(); }

 private:
  static void resumed(void* frame) {
    auto& self = *static_cast<TaskRunner*>(static_cast<CallbackFrame*>(frame));
    self.context_.detach();
    self.ended_(self);
  }

  Context context_;
  FrameOwner<TaskPromise<T>> frame_;
  Ended ended_;
};

}  // namespace cofork::detail
