#include <cofork/runtime/sleep.hpp>

namespace cofork::detail {

bool SleepAwaiter::suspend(std::coroutine_handle<> handle, Context* context) {
  if (context && context->cancelled()) {
    cancelled_ = true;
    return false;
  }
  node_.suspend(handle, context, "sleep", &SleepAwaiter::on_cancel);
  if (deadline_ <= Clock::now())
    node_.resume_later();
  else
    node_.start(deadline_, &SleepAwaiter::on_expiry);
  return true;
}

void SleepAwaiter::on_expiry(Timer& timer) noexcept { static_cast<Node&>(timer).resume_later(); }

void SleepAwaiter::on_cancel(Waiter& waiter) noexcept {
  static_cast<Node&>(waiter).stop();
  waiter.resume_cancelled();
}

}  // namespace cofork::detail
