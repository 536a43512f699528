#include <atomic>
#include <cofork/runtime/context.hpp>
#include <cofork/runtime/loop.hpp>

namespace cofork::detail {

void Waiter::resume_later() noexcept {
  forget_context();
  unlink();
  current_loop->make_ready(*this);
}

Context::~Context() {
  if (suspended_) suspended_->context_ = nullptr;
  children_.for_each([](Context& child) { child.detach(); });
}

void Context::attach(Context* parent) noexcept {
  parent_ = parent;
  if (!parent) return;
  parent->children_.push_back(*this);
  if (parent->cancelled_) cancelled_ = true;
}

void Context::cancel() noexcept {
  if (cancelled_) return;
  cancelled_ = true;
  if (stop_source_) stop_source_->request_stop();
  children_.for_each([](Context& child) { child.cancel(); });
  if (suspended_ && suspended_->on_cancel_) suspended_->on_cancel_(*suspended_);
}

std::uint64_t Context::number() const noexcept {
  static std::atomic<std::uint64_t> last{0};
  if (number_ == 0) number_ = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return number_;
}

std::stop_token Context::stop_token() {
  if (!stop_source_) {
    stop_source_ = std::make_unique<std::stop_source>();
    if (cancelled_) stop_source_->request_stop();
  }
  return stop_source_->get_token();
}

}  // namespace cofork::detail
