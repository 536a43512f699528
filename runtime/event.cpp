#include <cofork/runtime/event.hpp>

namespace cofork {

void Event::set() noexcept {
  set_ = true;
  while (!waiters_.empty()) waiters_.front().resume_later();
}

bool detail::EventAwaiter::suspend(std::coroutine_handle<> handle, Context* context) noexcept {
  if (context && context->cancelled()) {
    interrupted_ = true;
    return false;
  }
  waiter_.suspend(handle, context, "an event", [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
  event_.waiters_.push_back(waiter_);
  return true;
}

}  // namespace cofork
