#include <cofork/runtime/barrier.hpp>
#include <limits>
#include <stdexcept>
#include <utility>

namespace cofork {

Barrier::Barrier(std::size_t parties) : parties_(parties) {
  if (parties == 0 || parties > std::numeric_limits<std::size_t>::max() / 2)
    throw std::invalid_argument("Barrier: the number of parties must be positive");
}

Barrier::~Barrier() {
  while (!waiters_.empty()) static_cast<detail::BarrierAwaiter::Node&>(waiters_.pop_front()).barrier = nullptr;
}

void Barrier::open() noexcept {
  arrived_ = 0;
  for (std::size_t index = 0; !waiters_.empty(); ++index) {
    auto& node = static_cast<detail::BarrierAwaiter::Node&>(waiters_.front());
    node.index = index;
    node.barrier = nullptr;
    node.resume_later();
  }
}

namespace detail {

void BarrierAwaiter::Node::leave() noexcept {
  if (Barrier* counting = std::exchange(barrier, nullptr)) --counting->arrived_;
}

bool BarrierAwaiter::await_ready() noexcept {
  if (barrier_.arrived_ + 1 < barrier_.parties_) return false;
  node_.index = barrier_.arrived_;
  barrier_.open();
  return true;
}

bool BarrierAwaiter::suspend(std::coroutine_handle<> handle, Context* context) noexcept {
  if (context && context->cancelled()) {
    interrupted_ = true;
    return false;
  }
  node_.suspend(handle, context, "a barrier", [](Waiter& waiter) noexcept {
    static_cast<Node&>(waiter).leave();
    waiter.resume_cancelled();
  });
  node_.barrier = &barrier_;
  ++barrier_.arrived_;
  barrier_.waiters_.push_back(node_);
  return true;
}

std::size_t BarrierAwaiter::await_resume() const {
  if (interrupted_ || node_.cancelled()) throw CancelledError();
  return node_.index;
}

}  // namespace detail

}  // namespace cofork
