#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/guard.hpp>
#include <stdexcept>

namespace cofork {

void Guard::unlock() {
  if (!permits_) throw std::logic_error("Guard::unlock: this guard holds nothing");
  std::exchange(permits_, nullptr)->give();
}

namespace detail {

bool AcquireAwaiter::suspend(std::coroutine_handle<> handle, Context* context) noexcept {
  if (context && context->cancelled()) return false;
  taker_.suspend(handle, context, what_, [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
  permits_.take(taker_);
  return true;
}

Guard AcquireAwaiter::await_resume() {
  if (!std::exchange(taker_.granted, false)) throw CancelledError();
  return Guard(permits_);
}

}  // namespace detail

}  // namespace cofork
