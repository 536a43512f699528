// What runs several tasks at once inside one coroutine and ends when the last of them has: below every combinator.
#pragma once

#include <cofork/runtime/outcome.hpp>
#include <cofork/runtime/task_runner.hpp>
#include <cofork/runtime/to_task.hpp>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace cofork::detail {

bool is_cancellation(const std::exception_ptr& error) noexcept;

class BranchGroup;

/// A member of a group: in the group's list while it runs.
class BranchBase : public Link<BranchBase> {
 public:
  const std::exception_ptr& error() const noexcept { return error_; }

 protected:
  BranchBase() = default;
  ~BranchBase() = default;

  friend BranchGroup;
  /// It is no longer wanted: it will end soon.
  virtual void stop() noexcept = 0;

  BranchGroup* group_ = nullptr;
  std::exception_ptr error_;
};

/// The tasks that a combinator waits for, each in a context below that of the combinator, so that cancelling this one
/// cancels them all. Awaiting the group waits until all have ended.
class BranchGroup {
 public:
  BranchGroup(Context* parent, const char* name) noexcept : parent_(parent), name_(name) {}
  BranchGroup(const BranchGroup&) = delete;
  BranchGroup& operator=(const BranchGroup&) = delete;
  virtual ~BranchGroup() = default;

  /// Runs the branch until it suspends. In a group that was stopped it does not begin, and what had begun is stopped.
  template <class B>
  void start(B& branch) {
    if (stopped_ && !branch.under_way()) return;
    add(branch);
    if (stopped_) branch.stop();
    branch.start(parent_);
  }
  void add(BranchBase& branch) noexcept {
    branch.group_ = this;
    running_.push_back(branch);
  }
  void ended(BranchBase& branch) noexcept;

  /// Cancels what runs, and whatever would be started yet.
  void stop() noexcept;

  bool stopped() const noexcept { return stopped_; }
  bool running() const noexcept { return !running_.empty(); }
  Context* parent() const noexcept { return parent_; }
  bool parent_cancelled() const noexcept { return parent_ && parent_->cancelled(); }

  bool await_ready() const noexcept { return !running(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    waiter_.suspend(handle, context_of(handle), name_, nullptr);
  }
  void await_resume() const noexcept {}

 protected:
  /// Decides what the end of this branch means for the others.
  virtual void branch_ended(BranchBase&) noexcept {}

  List<BranchBase>& running_branches() noexcept { return running_; }
  /// Takes a branch out that ends without the group.
  static void leave(BranchBase& branch) noexcept {
    branch.group_ = nullptr;
    branch.unlink();
  }

 private:
  Context* parent_;
  const char* name_;
  List<BranchBase> running_;
  Waiter waiter_;
  bool stopped_ = false;
};

/// A task as a member of a group.
template <class R>
class Branch final : public BranchBase, private TaskRunner<R> {
 public:
  /// `under_way`: the work has begun already, so it must be stopped even when its result is not wanted any more.
  Branch(Task<R>&& task, const char* name, bool under_way = false)
      : TaskRunner<R>(std::move(task), name, &Branch::task_ended), under_way_(under_way) {}
  /// Only before it starts.
  Branch(Branch&& other) noexcept : TaskRunner<R>(std::move(other)), under_way_(other.under_way_) {}

  using TaskRunner<R>::context;
  using TaskRunner<R>::start;
  bool under_way() const noexcept { return under_way_; }
  void stop() noexcept override { context().cancel(); }

  /// After the end, once: the value moved out, or the error thrown.
  R take() {
    if (error_) std::rethrow_exception(std::move(error_));
    if constexpr (std::is_reference_v<R>)
      return static_cast<R>(**value_);
    else if constexpr (!std::is_void_v<R>)
      return std::move(*value_);
  }
  ResultValue<R> take_value() {
    if constexpr (std::is_void_v<R>) {
      take();
      return {};
    } else {
      return take();
    }
  }

 private:
  static void task_ended(TaskRunner<R>& runner) {
    auto& self = static_cast<Branch&>(runner);
    try {
      Outcome<R> outcome = self.take_outcome();
      if (outcome.has_error())
        self.error_ = outcome.error();
      else
        self.value_.emplace(std::move(outcome.value()));
    } catch (...) {
      self.error_ = std::current_exception();
    }
    self.free_frame();
    self.group_->ended(self);
  }

  std::optional<Stored<R>> value_;
  bool under_way_;
};

/// An argument of a combinator that gives values, ready to start.
template <Combinable A>
auto make_branch(A&& awaitable, const char* name) {
  using Result = await_result_t<A>;
  using R = std::conditional_t<std::is_reference_v<Result>, ResultValue<Result>, Result>;
  return Branch<R>(to_task<R>(std::forward<A>(awaitable)), name, is_future<std::remove_reference_t<A>>);
}

}  // namespace cofork::detail
