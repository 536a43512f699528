// The event loop of a worker: one, for all the coroutines that it executes.
#pragma once

#include <cofork/ipc/task_receiver.hpp>
#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/task_runner.hpp>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <utility>

namespace cofork::detail {

/// Runs the coroutines of a worker, one after the other, on a loop that is made for the first. It cancels the one that
/// is running when the parent asks for that. Plain functions run outside of it: there is no current loop for them.
class WorkerLoop final : private Poller {
 public:
  explicit WorkerLoop(ipc::TaskReceiver& receiver) noexcept : receiver_(receiver) {}
  WorkerLoop(const WorkerLoop&) = delete;
  WorkerLoop& operator=(const WorkerLoop&) = delete;
  ~WorkerLoop();

  /// The item that is executed from now on.
  void begin(const ipc::TaskReceiver::Frame& frame, std::uint32_t item) noexcept {
    frame_ = &frame;
    item_ = item;
  }

  /// Runs the task that `make` returns and gives its result. As with `cofork::run`, what it leaves spawned is cancelled
  /// and awaited, and what it leaves open is closed.
  template <std::invocable Make>
  auto run(Make make) {
    const Turn turn(*this);
    MainTask main(make());
    main.start(loop_->root());
    drive(main.context(), main.ended());
    return main.take();
  }

  /// Whether the parent wants the item to end.
  bool stop_requested() const noexcept { return receiver_.stop_requested(*frame_, item_); }

  /// Waits until a stream may send its next value. Cancelling it ends the wait.
  class Room;
  Room room() noexcept;

 private:
  template <class T>
  class MainTask : private TaskRunner<T> {
   public:
    explicit MainTask(Task<T>&& task) : TaskRunner<T>(std::move(task), "main", &MainTask::end) {}

    using TaskRunner<T>::context;
    void start(Context& root) { TaskRunner<T>::start(&root); }
    const bool& ended() const noexcept { return ended_; }
    T take() { return outcome_.take(); }

   private:
    static void end(TaskRunner<T>& runner) {
      auto& self = static_cast<MainTask&>(runner);
      self.outcome_ = self.take_outcome();
      self.free_frame();
      self.ended_ = true;
    }

    Outcome<T> outcome_;
    bool ended_ = false;
  };

  /// While a task runs the loop is the thread's.
  class Turn {
   public:
    explicit Turn(WorkerLoop& loop);
    Turn(const Turn&) = delete;
    ~Turn();

   private:
    WorkerLoop& loop_;
  };

  void open();
  void drive(Context& main, const bool& ended);
  void close_what_is_left() noexcept;
  unsigned handles() const noexcept;

  // Poller
  bool poll() override;
  bool worth_spinning() const override { return !waiting_for_room_.empty(); }
  bool prepare_to_sleep() override;
  void awake() override { receiver_.awake_in_loop(); }

  ipc::TaskReceiver& receiver_;
  const ipc::TaskReceiver::Frame* frame_ = nullptr;
  std::uint32_t item_ = 0;
  std::unique_ptr<Loop> loop_;
  DescriptorWatch bell_;
  unsigned own_handles_ = 0;
  const char* outer_stack_limit_ = nullptr;
  Context* main_ = nullptr;  // of the running task, until it was told to stop
  List<Waiter> waiting_for_room_;
};

class WorkerLoop::Room {
 public:
  explicit Room(WorkerLoop& loop) noexcept : loop_(loop) {}
  bool await_ready() const noexcept { return loop_.receiver_.may_stream(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    Context* context = context_of(handle);
    if (context && context->cancelled()) throw CancelledError();
    waiter_.suspend(handle, context, "the consumer of the stream",
                    [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
    loop_.waiting_for_room_.push_back(waiter_);
  }
  void await_resume() const {
    if (waiter_.cancelled()) throw CancelledError();
  }

 private:
  WorkerLoop& loop_;
  Waiter waiter_;
};

inline WorkerLoop::Room WorkerLoop::room() noexcept { return Room(*this); }

}  // namespace cofork::detail
