// as_completed(): futures in the order in which they end.
#pragma once

#include <chrono>
#include <cofork/runtime/future_set.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace cofork {

struct AsCompletedOptions {
  /// For all of them, counted from the call. None: no limit.
  std::optional<std::chrono::nanoseconds> timeout{};
};

namespace detail {

/// The indices of futures in the order in which they end, for one consumer.
class Completions final : FutureSet {
 public:
  Completions(States states, AsCompletedOptions options);
  ~Completions() { close(); }

  bool ready();
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context);
  std::optional<std::size_t> take();
  void close() noexcept;

 private:
  struct OwnTimer : Timer {
    static void expire(Timer& timer) noexcept { static_cast<OwnTimer&>(timer).consumer->wake(); }
    StreamConsumer* consumer = nullptr;
  };

  void future_ended(std::size_t index) noexcept override;
  void take_those_done() noexcept;
  bool late() const noexcept { return deadline_ && Clock::now() >= *deadline_; }

  std::vector<std::size_t> ended_;  // in the order of their ends; the first `taken_` are the consumer's
  std::size_t taken_ = 0;
  std::optional<Clock::time_point> deadline_;
  StreamConsumer consumer_;
  OwnTimer timer_;
  bool closed_ = false;
};

template <class T>
class AsCompletedSource final : public StreamSource<Future<T>> {
 public:
  AsCompletedSource(std::vector<Future<T>>&& futures, AsCompletedOptions options)
      : futures_(std::move(futures)), completions_(states_of(futures_), options) {}

  bool ready() override { return completions_.ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    return completions_.wait(waiter, consumer, context);
  }
  std::optional<Future<T>> take() override {
    const std::optional<std::size_t> index = completions_.take();
    if (!index) return std::nullopt;
    return std::move(futures_[*index]);
  }
  void close() noexcept override { completions_.close(); }

 private:
  std::vector<Future<T>> futures_;
  Completions completions_;
};

}  // namespace detail

/// The futures, each once, as they end, however they do (`concurrent.futures.as_completed`): first those that are done
/// already, in their order, then the others in the order of their ends. It owns the futures until it gives them out.
///
/// When the time is over and none is left that has ended, `next()` throws `TimeoutError` "2 (of 4) futures unfinished"
/// and the stream is at its end. Then, and when the stream is closed or dropped before its end, the work of the futures
/// that it still owns is stopped, running or not. Cancelling `next()` stops nothing.
template <class T>
Stream<Future<T>> as_completed(std::vector<Future<T>> futures, AsCompletedOptions options = {}) {
  return Stream<Future<T>>(std::make_unique<detail::AsCompletedSource<T>>(std::move(futures), options));
}

}  // namespace cofork
