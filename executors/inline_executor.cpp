#include <cofork/executors/inline_executor.hpp>
#include <cofork/runtime/branches.hpp>

namespace cofork {

namespace detail {

namespace {
Task<> wait_for_end(IntrusivePtr<InlineCore>, Event& ended) { co_await ended.wait(); }
}  // namespace

void InlineCore::check_open() const {
  if (closed_) throw InvalidStateError("the executor was shut down: it takes no further work");
}

void InlineCore::close() noexcept {
  closed_ = true;
  settle();
}

void InlineCore::settle() noexcept {
  if (closed_ && stats.running == 0) ended_.set();
}

Task<> InlineCore::closed() { return wait_for_end(IntrusivePtr<InlineCore>(this), ended_); }

InlineCall::~InlineCall() {
  if (!core_) return;
  if (!counted_) ++core_->stats.cancelled;
  --core_->stats.running;
  core_->settle();
}

void InlineCall::ended(const std::exception_ptr& error) noexcept {
  counted_ = true;
  if (!error)
    ++core_->stats.completed;
  else if (is_cancellation(error))
    ++core_->stats.cancelled;
  else
    ++core_->stats.failed;
}

}  // namespace detail

namespace {
Task<> nothing() { co_return; }
}  // namespace

InlineExecutor::InlineExecutor() : core_(detail::make_intrusive<detail::InlineCore>()) {}

Task<> InlineExecutor::shutdown(ShutdownOptions options) {
  core_->close();
  return options.wait ? core_->closed() : nothing();
}

}  // namespace cofork
