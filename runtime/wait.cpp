#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cofork/runtime/wait.hpp>

namespace cofork::detail {

namespace {

bool failed(const FutureStateBase& state) { return state.done() && !state.cancelled() && state.exception() != nullptr; }

class FutureWait final : FutureSet {
 public:
  FutureWait(States states, WaitOptions options) noexcept : FutureSet(std::move(states)), options_(options) {
    timer_.waiter = &waiter_;
  }

  bool await_ready() {
    for (std::size_t i = 0; i < size(); ++i) count(*state(i));
    return satisfied() || (options_.timeout && *options_.timeout <= options_.timeout->zero());
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    Context* const context = context_of(handle);
    if (context && context->cancelled()) throw CancelledError();
    if (options_.timeout) timer_.start(deadline_after(*options_.timeout), &OwnTimer::expire);
    listen();
    if (options_.return_when == ReturnWhen::first_completed) want_all();
    waiter_.suspend(handle, context, "wait", [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
    return true;
  }
  void await_resume() const {
    if (waiter_.cancelled()) throw CancelledError();
  }

  WaitResult result() {
    WaitResult result;
    for (std::size_t i = 0; i < size(); ++i) (state(i)->done() ? result.done : result.not_done).push_back(i);
    return result;
  }

 private:
  struct OwnTimer : Timer {
    static void expire(Timer& timer) noexcept { wake(*static_cast<OwnTimer&>(timer).waiter); }
    Waiter* waiter = nullptr;
  };

  void future_ended(std::size_t index) noexcept override {
    count(*state(index));
    if (satisfied()) wake(waiter_);
  }
  static void wake(Waiter& waiter) noexcept {
    // Whoever is in the ready queue already has been woken.
    if (!waiter.linked()) waiter.resume_later();
  }

  void count(const FutureStateBase& state) {
    if (!state.done()) return;
    ++done_;
    if (options_.return_when == ReturnWhen::first_exception) any_failed_ |= failed(state);
  }
  bool satisfied() const noexcept {
    return done_ == size() || any_failed_ || (options_.return_when == ReturnWhen::first_completed && done_ > 0);
  }

  WaitOptions options_;
  std::size_t done_ = 0;
  bool any_failed_ = false;
  Waiter waiter_;
  OwnTimer timer_;
};

}  // namespace

Task<WaitResult> wait_for_states(FutureSet::States states, WaitOptions options) {
  FutureWait futures(std::move(states), options);
  co_await futures;
  co_return futures.result();
}

}  // namespace cofork::detail
