#include <cofork/runtime/condition.hpp>
#include <cofork/runtime/errors.hpp>
#include <stdexcept>

namespace cofork {

void Condition::check_locked() const {
  if (permits_.available()) throw std::logic_error("Condition: notified without its lock");
}

void Condition::notify_first() noexcept {
  using Awaiter = detail::ConditionAwaiter;
  if (!waiters_.empty()) static_cast<Awaiter::Node&>(waiters_.front()).relock(Awaiter::Stage::notified);
}

void Condition::notify_one() {
  check_locked();
  notify_first();
}

void Condition::notify_all() {
  check_locked();
  while (!waiters_.empty()) notify_first();
}

namespace detail {

void ConditionAwaiter::Node::relock(Stage reason) noexcept {
  stage = reason;
  unlink();
  condition.permits_.take(*this);
}

void ConditionAwaiter::on_cancel(Waiter& waiter) noexcept {
  auto& node = static_cast<Node&>(waiter);
  if (!node.linked()) {  // the condition is gone
    node.resume_cancelled();
  } else if (node.stage == Stage::waiting) {
    node.relock(Stage::cancelled);
  } else {
    node.stage = Stage::cancelled;
    node.condition.notify_first();
  }
}

ConditionAwaiter::~ConditionAwaiter() {
  // The coroutine was destroyed where it was suspended: what it was given goes to the others.
  if (node_.stage == Stage::notified) node_.condition.notify_first();
  if (node_.granted) node_.condition.permits_.give();
}

bool ConditionAwaiter::await_ready() const {
  if (guard_.permits_ != &node_.condition.permits_)
    throw std::logic_error("Condition::wait: the guard does not hold this condition's lock");
  return false;
}

bool ConditionAwaiter::suspend(std::coroutine_handle<> handle, Context* context) noexcept {
  if (context && context->cancelled()) {
    node_.stage = Stage::cancelled;
    return false;
  }
  node_.stage = Stage::waiting;
  node_.suspend(handle, context, "a condition", &ConditionAwaiter::on_cancel);
  node_.condition.waiters_.push_back(node_);
  std::exchange(guard_.permits_, nullptr)->give();
  return true;
}

void ConditionAwaiter::await_resume() {
  if (std::exchange(node_.granted, false)) guard_.permits_ = &node_.condition.permits_;
  if (std::exchange(node_.stage, Stage::idle) == Stage::cancelled || node_.cancelled()) throw CancelledError();
}

}  // namespace detail

}  // namespace cofork
