// The consumer's side of a stream that is fed from a descriptor. Not for users.
#pragma once

#include <poll.h>

#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/stream.hpp>
#include <coroutine>
#include <functional>
#include <optional>
#include <utility>

namespace cofork::detail {

/// Wakes the consumer when a descriptor is readable, and watches it only while somebody waits.
class ReadableConsumer final : private LoopResource {
 public:
  ReadableConsumer() { belong_to(Loop::current()); }
  ReadableConsumer(const ReadableConsumer&) = delete;
  ReadableConsumer& operator=(const ReadableConsumer&) = delete;
  ~ReadableConsumer() = default;

  /// For `StreamSource::wait`. Throws `std::system_error` besides what `StreamConsumer::wait` throws. `has_news`, if
  /// there is one, throws nothing; that of the first who waits counts. Where it says no, it leaves nothing to read.
  void wait(int descriptor, Waiter& waiter, std::coroutine_handle<> coroutine, Context* context,
            std::function<bool()> has_news = nullptr) {
    Loop& loop = Loop::current();
    if (&loop != loop_) belong_to(loop);
    consumer_.wait(waiter, coroutine, context);
    if (watch_) return;
    watch_.emplace(loop.uv(), descriptor, [this, descriptor, has_news = std::move(has_news)] {
      pollfd readable = {descriptor, POLLIN, 0};
      if (::poll(&readable, 1, 0) == 0) return;  // a spurious event
      if (has_news && !has_news()) return;
      watch_.reset();
      consumer_.wake();
    });
  }
  /// The descriptor is about to be closed.
  void stop() noexcept {
    watch_.reset();
    consumer_.wake();
  }

 private:
  void belong_to(Loop& loop) noexcept {
    static_cast<Link<LoopResource>&>(*this).unlink();
    loop.resources().push_back(*this);
    loop_ = &loop;
  }
  void loop_closing() noexcept override {
    watch_.reset();
    loop_ = nullptr;
  }

  Loop* loop_ = nullptr;
  StreamConsumer consumer_;
  std::optional<DescriptorWatch> watch_;
};

}  // namespace cofork::detail
