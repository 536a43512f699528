#include <cofork/executors/thread_stream.hpp>

namespace cofork::detail {

ThreadStreamBase::Producing::Producing(ThreadStreamBase& stream) : stream_(stream) {
  const std::lock_guard lock(stream_.mutex_);
  stream_.producer_loop_ = &Loop::current();
}

ThreadStreamBase::Producing::~Producing() {
  const std::lock_guard lock(stream_.mutex_);
  stream_.producer_loop_ = nullptr;
}

bool ThreadStreamBase::ready() {
  if (finished_) return true;
  const std::lock_guard lock(mutex_);
  return size_ != 0;
}

bool ThreadStreamBase::wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) {
  consumer_.wait(waiter, consumer, context);
  const std::lock_guard lock(mutex_);
  consumer_waits_ = true;
  if (size_ != 0) wake_consumer();
  return true;
}

void ThreadStreamBase::finish(std::exception_ptr error) noexcept {
  if (finished_) return;
  finished_ = true;
  error_ = std::move(error);
  consumer_.wake();
}

void ThreadStreamBase::wake_consumer() {
  if (!std::exchange(consumer_waits_, false)) return;
  // Who waits by then may be another one: it would take the lack of a value for the end.
  consumer_loop_.post([self = shared_from_this()] {
    if (self->ready()) self->consumer_.wake();
  });
}

void ThreadStreamBase::wake_producer() {
  if (!producer_waits_ || size_ > capacity / 2) return;
  producer_waits_ = false;
  if (producer_loop_) producer_loop_->post([self = shared_from_this()] { self->room_.set(); });
}

Task<bool> ThreadStreamBase::wait_for_room() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) co_return true;
      if (size_ < capacity) co_return false;
      producer_waits_ = true;
      room_.clear();
    }
    co_await room_.wait();
  }
}

}  // namespace cofork::detail
