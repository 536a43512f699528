// with_task_group(): tasks that cannot outlive the block that spawned them.
#pragma once

#include <cofork/runtime/branches.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/this_context.hpp>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {

class GroupChildBase : public BranchBase {
 public:
  virtual void abandon_child() = 0;

 protected:
  ~GroupChildBase() = default;
  void child_ended(const FutureStateBase& state) noexcept;
};

/// A spawned task that is a member of a group.
template <class T>
class GroupChild final : public GroupChildBase, public SpawnedTask<T> {
 public:
  explicit GroupChild(Task<T>&& task) noexcept : SpawnedTask<T>(std::move(task), "task group") {}

  void stop() noexcept override { this->cancel(); }
  void abandon_child() override { this->abandon(); }

 private:
  void on_end() override { this->child_ended(*this); }
};

/// The body and the children. The first failure stops the others and is kept.
class TaskGroupState final : public BranchGroup {
 public:
  explicit TaskGroupState(Context* parent) noexcept : BranchGroup(parent, "task group") {}

  template <class B>
  void start_body(B& body) {
    body_ = &body;
    start(body);
  }
  /// Gives the context to start the child in. `std::logic_error` when the group has ended.
  Context& admit(GroupChildBase& child);
  void child_cancelled() noexcept { cut_short_ |= parent_cancelled(); }
  /// Ends the children where they are suspended, without resuming them.
  void abandon_children() noexcept;
  /// After the end: throws the first failure of a child, or that of the body.
  void check() const;

 private:
  void branch_ended(BranchBase& branch) noexcept override;

  const BranchBase* body_ = nullptr;
  std::exception_ptr error_;
  bool cut_short_ = false;
};

/// For the end of a group whose coroutine is destroyed where it is suspended. The children come first: they may refer
/// to what is in the body's frame.
class ChildrenGuard {
 public:
  explicit ChildrenGuard(TaskGroupState& group) noexcept : group_(group) {}
  ChildrenGuard(const ChildrenGuard&) = delete;
  ChildrenGuard& operator=(const ChildrenGuard&) = delete;
  ~ChildrenGuard() { group_.abandon_children(); }

 private:
  TaskGroupState& group_;
};

}  // namespace detail

/// Where the body of `with_task_group`, and the tasks in the group themselves, start further ones. It lives until the
/// group has ended.
class TaskGroup {
 public:
  /// Runs `task` concurrently, from the next turn on. Its future is as that of `cofork::spawn`: it may be dropped, and
  /// cancelling it is no failure of the group. In a group that was cancelled, or has failed, the task is cancelled
  /// before it begins. `std::logic_error` when the group has ended.
  template <class T>
  Future<T> spawn(Task<T> task) {
    auto child = detail::make_intrusive<detail::GroupChild<T>>(std::move(task));
    child->start(state_.admit(*child));
    if (state_.stopped()) child->cancel();
    return detail::FutureAccess::make<T>(std::move(child));
  }
  template <detail::BecomesTask A>
  Future<await_result_t<A>> spawn(A awaitable) {
    return spawn(Task<await_result_t<A>>(std::move(awaitable)));
  }

  /// Cancels everything in the group: the tasks, what the body waits for, and tasks yet to be spawned.
  void cancel() noexcept { state_.stop(); }

  /// For `with_task_group`.
  explicit TaskGroup(detail::TaskGroupState& state) noexcept : state_(state) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

 private:
  detail::TaskGroupState& state_;
};

namespace detail {
template <class R, class F>
Task<R> call_body(F& body, TaskGroup& group) {
  co_return co_await body(group);
}
}  // namespace detail

/// Runs `body(group)`, and leaves only when that and every task spawned in the group have ended; then gives what the
/// body gave (`asyncio.TaskGroup`, a trio nursery). The body, with its captures, lives until then, so tasks may refer
/// to what it captured, though not to its local variables, which are gone when it returns.
///
/// The first failure, of the body or a task, cancels all the others and is thrown when they have ended; later ones are
/// dropped (Python has exception groups). A task that ends cancelled is no failure; a body that does is one.
///
/// `group.cancel()` cancels all without a failure: the value of a body that has finished, or finishes nevertheless, is
/// given; else `CancelledError` is thrown. Cancelling the awaiter cancels all: `CancelledError` when they have ended,
/// unless the body and all tasks came to their own ends.
template <class F>
Task<await_result_t<std::invoke_result_t<F&, TaskGroup&>>> with_task_group(F body) {
  using R = await_result_t<std::invoke_result_t<F&, TaskGroup&>>;
  detail::Context* const parent = co_await detail::ThisContext{};
  detail::TaskGroupState state(parent);
  TaskGroup group(state);
  detail::Branch<R> main(detail::call_body<R>(body, group), "task group's body");
  const detail::ChildrenGuard guard(state);
  state.start_body(main);
  co_await state;
  state.check();
  co_return main.take();
}

}  // namespace cofork
