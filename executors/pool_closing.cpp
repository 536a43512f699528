// The end of a pool: by shutdown, by force, or with its loop.
#include <algorithm>
#include <cofork/executors/pool_core.hpp>
#include <cofork/runtime/errors.hpp>
#include <csignal>
#include <utility>

namespace cofork::detail {

namespace {

/// Waits until a pool has ended. Cancelling it ends the wait; the pool goes on closing.
class EndAwaiter {
 public:
  EndAwaiter(List<Waiter>& waiting, const bool& ended) noexcept : waiting_(waiting), ended_(ended) {}

  bool await_ready() const noexcept { return ended_; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    Context* context = context_of(handle);
    if (context && context->cancelled()) throw CancelledError();
    waiter_.suspend(handle, context, "the end of a pool", [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
    waiting_.push_back(waiter_);
    return true;
  }
  void await_resume() const {
    if (waiter_.cancelled()) throw CancelledError();
  }

 private:
  List<Waiter>& waiting_;
  const bool& ended_;
  Waiter waiter_;
};

Task<> wait_for_end(IntrusivePtr<PoolCore>, List<Waiter>& waiting, const bool& ended) {
  co_await EndAwaiter(waiting, ended);
}

}  // namespace

void PoolCore::prestart() {
  check_open();
  while (can_start_worker() && start_worker()) {
  }
}

void PoolCore::close(bool cancel_pending) {
  origin_.check("pool");
  const IntrusivePtr<PoolCore> alive(this);
  closing_ = true;
  if (cancel_pending) {
    for (PoolWorker& worker : workers_)
      if (!worker.condemned) take_back_all(worker);
    drop_all(nullptr);
  }
  open_inputs_.for_each([](OpenInput& input) { input.pool_closes(); });
  finish_closing();
  complete_ended();
}

void PoolCore::finish_closing() {
  if (closed_ || front()) return;
  if (workers_.empty()) {
    drop_all(nullptr);
    closed_ = true;
    nap_.stop();
    retry_.stop();
    idle_.stop();
    tidy_.stop();
    server_.reset();
    Link<LoopResource>& link = *this;
    link.unlink();
    while (!waiting_for_end_.empty()) waiting_for_end_.front().resume_later();
    return;
  }
  for (PoolWorker& worker : workers_)
    if (worker.current()) return;
  for (PoolWorker& worker : workers_) {
    if (worker.condemned || worker.grace.active()) continue;
    if (!worker.retiring) worker.sender.tell_to_leave();
    worker.retiring = true;
    // Unless it cannot, because it was stopped.
    worker.grace.start(Clock::now() + time_to_leave, &PoolCore::grace_over);
  }
}

void PoolCore::stop_workers(int signo) {
  origin_.check("pool");
  const IntrusivePtr<PoolCore> alive(this);
  closing_ = stopping_ = true;
  for (PoolWorker& worker : workers_) {
    if (worker.condemned) continue;
    take_back_all(worker);
    bool any = false;
    drain_or_condemn(worker, any);
    if (!worker.condemned)
      condemn(worker, StopReason::cancelled, signo == SIGKILL ? std::chrono::nanoseconds(0) : grace_);
  }
  drop_all(nullptr);
  finish_closing();
  complete_ended();
}

void PoolCore::terminate() noexcept {
  if (closed_) return;
  if (!origin_.is_here()) return add_reference();  // for ever: what it has is the parent's
  const IntrusivePtr<PoolCore> alive(this);
  closing_ = stopping_ = true;
  server_.reset();
  for (PoolWorker& worker : workers_) {
    bool any = false;
    drain_or_condemn(worker, any);
    worker.stop_reason = StopReason::cancelled;
    if (observer_) observer_->signalled(worker, SIGKILL);
  }
  while (!workers_.empty()) bury(workers_.front(), nullptr);
  drop_all(nullptr);
  finish_closing();
  complete_ended();
}

Task<> PoolCore::closed() { return wait_for_end(IntrusivePtr<PoolCore>(this), waiting_for_end_, closed_); }

}  // namespace cofork::detail
