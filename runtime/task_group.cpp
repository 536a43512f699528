#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/task_group.hpp>
#include <stdexcept>

namespace cofork::detail {

void GroupChildBase::child_ended(const FutureStateBase& state) noexcept {
  if (!group_) return;
  if (state.cancelled())
    static_cast<TaskGroupState*>(group_)->child_cancelled();
  else
    error_ = state.exception();
  group_->ended(*this);
}

Context& TaskGroupState::admit(GroupChildBase& child) {
  if (!running()) throw std::logic_error("TaskGroup::spawn: the group has ended");
  add(child);
  return parent() ? *parent() : Loop::current().root();
}

void TaskGroupState::branch_ended(BranchBase& branch) noexcept {
  if (!branch.error()) return;
  // The body's own error is still in its branch; it counts if it is the first, or a cancellation and the only one.
  if (!error_ && !is_cancellation(branch.error())) error_ = branch.error();
  stop();
}

void TaskGroupState::abandon_children() noexcept {
  running_branches().for_each([this](BranchBase& branch) {
    if (&branch == body_) return;
    leave(branch);
    static_cast<GroupChildBase&>(branch).abandon_child();
  });
}

void TaskGroupState::check() const {
  if (error_) std::rethrow_exception(error_);
  // A body that was cancelled tells so itself.
  if (cut_short_ && !body_->error()) throw CancelledError();
}

}  // namespace cofork::detail
