#include <cofork/executors/submitted_call.hpp>

namespace cofork::detail {

SubmittedWork::SubmittedWork(IntrusivePtr<PoolCore> core, const SubmitOptions& options,
                             ipc::TaskSender::Function function, std::uint64_t function_key, FutureStateBase& future)
    : core_(std::move(core)), function_(function), future_(future), name_(options.name) {
  check_options(options);
  limits = {
      options.timeout, options.grace, options.retries, options.priority, {options.memory_limit, options.cpu_limit}};
  priority = options.priority;
  statistics = &core_->statistics(function_key);
  submitted_at = Clock::now().time_since_epoch().count();
}

void SubmittedWork::failed(std::uint32_t, std::exception_ptr error) noexcept {
  error_ = std::move(error);
  end_ = End::error;
}

void SubmittedWork::complete() noexcept {
  if (future_.done()) return;
  switch (end_) {
    case End::none:
      return;
    case End::value:
      return finish_with_value();
    case End::error:
      return future_.finish_error(std::move(error_));
    case End::cancelled:
      return future_.finish_cancelled();
  }
}

Filled SubmittedWork::fill(ipc::TaskSender::Message& message, std::uint32_t) {
  try {
    const bool limited = limits.resources.any();
    if (limited) message.value(limits.resources);
    encode_held(message);
    return {IntrusivePtr<Piece>(this), function_, 1, limited ? ipc::TaskFrame::limited : ipc::TaskFrame::none, 0};
  } catch (...) {
    failed(0, std::current_exception());
    core_->ended(IntrusivePtr<Piece>(this));
    return {};
  }
}

void SubmittedWork::drop(const std::exception_ptr& error) noexcept {
  if (error) {
    failed(0, error);
  } else {
    cancelled(0);
    core_->count_cancelled(*this, 0, 1);
  }
  forget_held();
  core_->ended(IntrusivePtr<Piece>(this));
}

bool SubmittedWork::cancel_work() {
  const IntrusivePtr<Piece> alive(this);
  if (end_ != End::none) return end_ == End::cancelled;
  if (QueueEntry* const entry = linked() ? this : parcel) {
    core_->remove(*entry);
    core_->count_cancelled(*this, 0, 1);
    forget_held();
  } else if (core_->cancel_in_worker(*this) != 0) {
    return false;
  }
  future_.finish_cancelled();
  core_->schedule();
  return true;
}

bool SubmittedWork::kill_work() {
  const IntrusivePtr<Piece> alive(this);
  if (cancel_work()) return true;
  if (end_ == End::none && core_->stop(*this, StopReason::cancelled)) return true;
  core_->complete_ended();
  return false;
}

void SubmittedWork::stop_work() {
  const IntrusivePtr<Piece> alive(this);
  if (!cancel_work() && end_ == End::none) core_->stop(*this, StopReason::cancelled);
}

void SubmittedWork::value_taken(std::uint64_t bytes) {
  if (in_worker) in_worker->sender.values_taken(1, bytes);
}

}  // namespace cofork::detail
