// Values that a coroutine on a pool's thread yields, on their way to the loop.
#pragma once

#include <cofork/executors/thread_call.hpp>
#include <cofork/runtime/event.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/stream.hpp>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace cofork::detail {

/// What does not depend on the type of the values. A producer that finds it full waits, on the loop of its thread,
/// until it is half empty.
class ThreadStreamBase : public std::enable_shared_from_this<ThreadStreamBase> {
 public:
  ThreadStreamBase(const ThreadStreamBase&) = delete;
  ThreadStreamBase& operator=(const ThreadStreamBase&) = delete;

  // The consumer's thread.

  bool ready();
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context);
  /// The producer has ended, with this error if any.
  void finish(std::exception_ptr error) noexcept;
  bool is_here() const noexcept { return consumer_.is_here(); }

 protected:
  static constexpr std::size_t capacity = 64;

  ThreadStreamBase() : consumer_loop_(Loop::current()) {}
  virtual ~ThreadStreamBase() = default;

  // Under the mutex, as `size_`.
  void wake_consumer();
  void wake_producer();
  /// True when the consumer has closed.
  Task<bool> wait_for_room();

  /// While it lives, the producer's loop can be reached.
  class Producing {
   public:
    explicit Producing(ThreadStreamBase& stream);
    Producing(const Producing&) = delete;
    ~Producing();

   private:
    ThreadStreamBase& stream_;
  };

  Loop& consumer_loop_;
  StreamConsumer consumer_;        // the consumer's thread only
  bool finished_ = false;          // the consumer's thread only
  std::exception_ptr error_;       // the consumer's thread only
  Event room_;                     // the producer's thread only
  std::mutex mutex_;               // for all that follows
  Loop* producer_loop_ = nullptr;  // while it produces
  std::size_t size_ = 0;
  bool closed_ = false;
  bool consumer_waits_ = false;
  bool producer_waits_ = false;
};

template <class R>
class ThreadStream final : public ThreadStreamBase {
 public:
  /// The producer: all the values of the stream that `call` gives.
  template <class F, class... A>
  static Task<> produce(std::shared_ptr<ThreadStream> self, std::tuple<F, A...> call) {
    const Producing producing(*self);
    Stream<R> values = call_once(call);
    while (auto value = co_await values.next()) {
      const bool closed = co_await self->wait_for_room();
      if (closed) break;
      if constexpr (std::is_void_v<R>)
        self->push({});
      else
        self->push(std::move(*value));
    }
  }

  std::optional<Stored<R>> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!values_.empty()) {
        std::optional<Stored<R>> value(std::move(values_.front()));
        values_.pop_front();
        --size_;
        wake_producer();
        return value;
      }
    }
    if (!error_) return std::nullopt;
    const std::exception_ptr error = std::exchange(error_, nullptr);
    close();  // a producer whose time is over may not have ended yet
    std::rethrow_exception(error);
  }

  void close() noexcept {
    std::deque<Stored<R>> dropped;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      size_ = 0;
      dropped.swap(values_);
      wake_producer();
    }
    finish(nullptr);
  }

 private:
  void push(Stored<R> value) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    values_.push_back(std::move(value));
    ++size_;
    wake_consumer();
  }

  std::deque<Stored<R>> values_;
};

/// The consumer's side. Closing it stops the call that produces.
template <class R>
class ThreadStreamSource final : public StreamSource<R> {
 public:
  ThreadStreamSource(std::shared_ptr<ThreadStream<R>> stream, Future<void> work)
      : stream_(std::move(stream)), work_(std::move(work)) {
    work_.add_done_callback([to = stream_](Future<void>& ended) {
      to->finish(ended.cancelled() ? std::make_exception_ptr(CancelledError()) : ended.exception());
    });
  }
  ~ThreadStreamSource() override { close(); }

  bool ready() override { return stream_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    return stream_->wait(waiter, consumer, context);
  }
  std::optional<Stored<R>> take() override { return stream_->take(); }
  void close() noexcept override {
    if (!stream_->is_here()) return;
    stream_->close();
    work_.kill();
  }

 private:
  std::shared_ptr<ThreadStream<R>> stream_;
  Future<void> work_;
};

}  // namespace cofork::detail
