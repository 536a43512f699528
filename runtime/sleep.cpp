#include <cofork/runtime/sleep.hpp>

namespace cofork::detail {

bool SleepAwaiter::suspend(std::coroutine_handle<> handle, Context* context) {
  if (context && context->cancelled()) {
    cancelled_ = true;
    return false;
  }
  node_.suspend(handle, context, "sleep", &SleepAwaiter::on_cancel);
  const bool over = from_now_ ? time_ <= time_.zero() : Clock::time_point(time_) <= Clock::now();
  if (over)
    node_.resume_later();
  else
    node_.start(from_now_ ? deadline_after(time_) : Clock::time_point(time_), &SleepAwaiter::on_expiry);
  return true;
}

void SleepAwaiter::on_expiry(Timer& timer) noexcept { static_cast<Node&>(timer).resume_later(); }

void SleepAwaiter::on_cancel(Waiter& waiter) noexcept {
  static_cast<Node&>(waiter).stop();
  waiter.resume_cancelled();
}

}  // namespace cofork::detail
