#include <cofork/runtime/future.hpp>
#include <cofork/runtime/loop.hpp>
#include <cstdio>

namespace cofork::detail {

bool FutureStateBase::cancel() {
  if (status_ == Status::cancelled) return true;
  if (status_ != Status::pending) return false;
  finish_cancelled();
  return true;
}

void FutureStateBase::check_done() const {
  if (!done()) throw InvalidStateError("the future is not done");
}

void FutureStateBase::rethrow_error() const {
  if (status_ == Status::cancelled) throw CancelledError();
  if (error_) std::rethrow_exception(error_);
}

std::exception_ptr FutureStateBase::exception() const {
  check_done();
  if (status_ == Status::cancelled) throw CancelledError();
  return error_;
}

void FutureStateBase::add_callback(std::function<void()> callback) {
  if (done()) return call(callback);
  check_origin();
  callbacks_.push_back(std::move(callback));
}

void FutureStateBase::finish(Status status) noexcept {
  const IntrusivePtr<FutureStateBase> alive(this);
  status_ = status;

  while (!waiters_.empty()) waiters_.front().resume_later();
  std::vector<std::function<void()>> callbacks = std::move(callbacks_);
  for (std::function<void()>& callback : callbacks) call(callback);
}

void FutureStateBase::finish_error(std::exception_ptr error) noexcept {
  error_ = std::move(error);
  finish(Status::finished);
}

void FutureStateBase::call(std::function<void()>& callback) noexcept {
  try {
    callback();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cofork: a done callback threw: %s\n", error.what());
  } catch (...) {
    std::fputs("cofork: a done callback threw something that is not a std::exception\n", stderr);
  }
}

}  // namespace cofork::detail
