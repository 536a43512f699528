// Stream<T>: values awaited one at a time.
#pragma once

#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/origin.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/task.hpp>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace cofork {

template <class T>
class Stream;

namespace detail {

/// Where a stream's values come from: a coroutine, a map over a pool, a queue. One consumer, one value at a time. The
/// destructor closes.
template <class T>
class StreamSource {
 public:
  virtual ~StreamSource() = default;

  /// True if `take` can be called without waiting.
  virtual bool ready() = 0;
  /// Called when `ready` said no, with the coroutine that asked: keeps `waiter` (which its caller has told what to
  /// resume) until it can be resumed, or returns false if `take` can be called after all. A cancelled waiter is resumed
  /// as any other; `waiter.cancelled()` then tells.
  virtual bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) = 0;
  /// The coroutine that waited was destroyed where it was suspended.
  virtual void abandon_wait() noexcept {}
  /// The next value, nullopt at the end, or the exception of the value that is missing.
  virtual std::optional<Stored<T>> take() = 0;
  /// No further value will be asked for: stops the producer. Idempotent; afterwards the stream is at its end.
  virtual void close() noexcept = 0;
  /// How many values, or errors in their place, are still to come, where that is known.
  virtual std::optional<std::uint64_t> expected() const { return std::nullopt; }
};

template <class T>
class NextAwaiter {
 public:
  using Result = std::conditional_t<std::is_void_v<T>, bool, std::optional<Stored<T>>>;

  explicit NextAwaiter(StreamSource<T>& source) noexcept : source_(source) {}
  /// Only before it is awaited.
  NextAwaiter(const NextAwaiter& other) noexcept : source_(other.source_) {}
  ~NextAwaiter() {
    if (suspended_) source_.abandon_wait();
  }

  bool await_ready() { return source_.ready(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspended_ = source_.wait(waiter_, handle, context_of(handle));
  }
  Result await_resume() {
    suspended_ = false;
    if (waiter_.cancelled()) throw CancelledError();
    if constexpr (std::is_void_v<T>)
      return source_.take().has_value();
    else
      return source_.take();
  }

  operator Task<Result>() const { return as_task<Result>(*this); }

 private:
  StreamSource<T>& source_;
  Waiter waiter_;
  bool suspended_ = false;
};

/// The consumer's side of a source whose values come from elsewhere: at most one coroutine waits.
class StreamConsumer {
 public:
  /// For `StreamSource::wait`. Throws `CancelledError` in a cancelled context, `std::logic_error` for a second
  /// consumer, and in a child that was forked since this was made.
  void wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) {
    origin_.check("stream");
    if (!waiting_.empty()) throw std::logic_error("Stream::next: another coroutine already waits for this stream");
    if (context && context->cancelled()) throw CancelledError();
    waiter.suspend(consumer, context, "a stream", [](Waiter& cancelled) noexcept { cancelled.resume_cancelled(); });
    waiting_.push_back(waiter);
  }
  /// False in a child that was forked since this was made: there is nothing for it to take, and nothing to stop.
  bool is_here() const noexcept { return origin_.is_here(); }
  bool waiting() const noexcept { return !waiting_.empty(); }
  void wake() noexcept {
    if (!waiting_.empty()) waiting_.front().resume_later();
  }

 private:
  List<Waiter> waiting_;
  Origin origin_;
};

struct StreamAccess {
  /// What the stream reads from; the stream is as if moved from.
  template <class T>
  static std::unique_ptr<StreamSource<T>> source(Stream<T>&& stream) noexcept {
    return std::move(stream.source_);
  }
};

template <class T>
class GeneratorPromise;

/// A coroutine that yields, as a source. Its body runs while `next()` is awaited, in the consumer's context.
template <class T>
class GeneratorSource final : public StreamSource<T> {
 public:
  explicit GeneratorSource(std::coroutine_handle<GeneratorPromise<T>> handle) noexcept : frame_(handle) {}

  bool ready() override { return !frame_ || frame_.promise().value || frame_.handle().done(); }

  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    GeneratorPromise<T>& promise = frame_.promise();
    if (promise.continuation) throw std::logic_error("Stream::next: another coroutine already waits for this stream");
    promise.context = context;
    frame_.handle().resume();
    if (ready()) return false;
    promise.continuation = consumer;
    waiter.suspend(consumer, nullptr, "a stream", nullptr);
    consumer_ = &waiter;
    return true;
  }

  std::optional<Stored<T>> take() override {
    if (!frame_) return std::nullopt;
    if (frame_.promise().value) return std::exchange(frame_.promise().value, std::nullopt);
    const std::exception_ptr error = frame_.promise().error;
    frame_.reset();
    if (error) std::rethrow_exception(error);
    return std::nullopt;
  }

  void close() noexcept override {
    const bool waiting = frame_ && frame_.promise().continuation;
    frame_.reset();
    if (waiting && current_loop) consumer_->resume_later();
  }
  void abandon_wait() noexcept override { frame_.reset(); }

 private:
  FrameOwner<GeneratorPromise<T>> frame_;
  Waiter* consumer_ = nullptr;  // while the promise has a continuation
};

template <class T>
class GeneratorPromise : public PromiseBase {
 public:
  struct Yield : FinalAwaiter {
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
      if (const std::coroutine_handle<> next = std::exchange(handle.promise().continuation, {})) next.resume();
    }
  };

  Stream<T> get_return_object();
  std::suspend_always initial_suspend() const noexcept { return {}; }
  Yield final_suspend() const noexcept { return {}; }
  Yield yield_value(Stored<T> next) {
    value.emplace(std::move(next));
    return {};
  }
  void return_void() const noexcept {}
  void unhandled_exception() noexcept { error = std::current_exception(); }

  std::optional<Stored<T>> value;
  std::exception_ptr error;
};

template <class T>
Task<std::vector<ResultValue<T>>> collect(Stream<T> stream) {
  std::vector<ResultValue<T>> values;
  while (auto value = co_await stream.next()) values.push_back(std::move(*value));
  co_return values;
}
inline Task<> collect(Stream<void> stream);

}  // namespace detail

/// Values awaited one at a time, from whatever makes them: `pool.map`, `as_completed`, or a coroutine of one's own,
/// `Stream<int> count() { co_yield 1; }`, whose body runs while its consumer waits (`async for` over an asynchronous
/// generator). Move-only; one consumer at a time, a second is `std::logic_error`. A `Stream<void>` tells that something
/// happened: its `next()` gives true until the end.
template <class T>
class [[nodiscard("a stream that is dropped is closed")]] Stream {
 public:
  using promise_type = detail::GeneratorPromise<T>;
  using value_type = T;

  Stream(Stream &&) noexcept = default;
  Stream& operator=(Stream&&) noexcept = default;

  /// The next value, nullopt at the end. Throws the error of the value that is missing; whether the stream goes on
  /// after that its maker says (a `map` does, a coroutine has ended). Cancelling it loses no value, but a coroutine is
  /// cancelled with its consumer. The stream must outlive the wait.
  detail::NextAwaiter<T> next() { return detail::NextAwaiter<T>(source()); }

  /// Stops the producer: outstanding work is cancelled, a coroutine is destroyed where it is suspended. The stream is
  /// at its end then, also for a coroutine that waits for it. The destructor does the same.
  void close() {
    if (source_) source_->close();
  }

  /// `co_await std::move(stream)`: all the values, in a vector. The first error closes the stream and is rethrown.
  auto operator co_await()&& { return detail::collect(std::move(*this)).operator co_await(); }

  /// For whoever makes streams: one over `source`.
  explicit Stream(std::unique_ptr<detail::StreamSource<T>> source) noexcept : source_(std::move(source)) {}

  /// The source, for whoever makes another stream of it; this one is as if moved from.
  std::unique_ptr<detail::StreamSource<T>> release()&& {
    source();
    return std::move(source_);
  }

 private:
  friend struct detail::StreamAccess;
  detail::StreamSource<T>& source() {
    if (!source_) throw InvalidStateError("this stream was moved from");
    return *source_;
  }

  std::unique_ptr<detail::StreamSource<T>> source_;
};

namespace detail {

template <class T>
Stream<T> GeneratorPromise<T>::get_return_object() {
  return Stream<T>(std::make_unique<GeneratorSource<T>>(std::coroutine_handle<GeneratorPromise>::from_promise(*this)));
}

inline Task<> collect(Stream<void> stream) {
  for (bool more = true; more;) more = co_await stream.next();
}

}  // namespace detail

}  // namespace cofork
