#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/gather.hpp>

namespace cofork::detail {

namespace {

class FutureGather final : FutureSet {
 public:
  explicit FutureGather(States states) noexcept : FutureSet(std::move(states)) { waiter_.self = this; }
  ~FutureGather() {
    // The awaiting coroutine was destroyed where it was suspended.
    if (waiter_.suspended()) stop();
  }

  bool await_ready() {
    for (std::size_t i = 0; i < size(); ++i)
      if (!state(i)->done())
        ++pending_;
      else
        note(*state(i));
    return pending_ == 0;
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    Context* const context = context_of(handle);
    listen();
    if (failed_ || (context && context->cancelled())) stop();
    if (pending_ == 0) return false;
    waiter_.suspend(handle, context, "gather",
                    [](Waiter& waiter) noexcept { static_cast<OwnWaiter&>(waiter).self->cancel(); });
    return true;
  }
  void await_resume() const {
    if (failed_) failed_->rethrow_error();
    if (left_behind_) throw CancelledError();
  }

 private:
  struct OwnWaiter : Waiter {
    FutureGather* self = nullptr;
  };

  void future_ended(std::size_t index) noexcept override {
    --pending_;
    note(*state(index));
    if (failed_) stop();
    resume_if_over();
  }
  void note(const FutureStateBase& state) {
    if (!failed_ && (state.cancelled() || state.exception())) failed_ = &state;
  }

  void cancel() noexcept {
    stop();
    resume_if_over();
  }
  void resume_if_over() noexcept {
    if (pending_ == 0 && !waiter_.linked()) waiter_.resume_later();
  }
  void stop() noexcept {
    if (stopped_) return;
    stopped_ = true;
    for (std::size_t i = 0; i < size(); ++i) {
      if (!listens_to(i) || state(i)->stop_for_awaiter()) continue;
      stop_listening(i);
      --pending_;
      left_behind_ = true;
    }
  }

  OwnWaiter waiter_;
  const FutureStateBase* failed_ = nullptr;
  std::size_t pending_ = 0;
  bool stopped_ = false;
  bool left_behind_ = false;
};

}  // namespace

Task<> gather_states(FutureSet::States states) {
  FutureGather futures(std::move(states));
  co_await futures;
}

}  // namespace cofork::detail
