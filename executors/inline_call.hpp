// Calls that are executed where they are made.
#pragma once

#include <chrono>
#include <cofork/executors/local_call.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/event.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/outcome.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace cofork::detail {

/// Shared by an executor and what it made; both can outlive the other.
class InlineCore final : public RefCounted {
 public:
  /// Throws `InvalidStateError` after shutdown.
  void check_open() const;
  void close() noexcept;
  Task<> closed();

  PoolStats stats;

 private:
  friend class InlineCall;
  void settle() noexcept;
  bool closed_ = false;
  Event ended_;
};

/// While it lives, a coroutine that was submitted has not ended.
class InlineCall {
 public:
  explicit InlineCall(IntrusivePtr<InlineCore> core) noexcept : core_(std::move(core)) { ++core_->stats.running; }
  InlineCall(InlineCall&&) noexcept = default;
  /// One that did not come to its end was cancelled.
  ~InlineCall();

  void ended(const std::exception_ptr& error) noexcept;

 private:
  IntrusivePtr<InlineCore> core_;
  bool counted_ = false;
};

/// Whether a call that began then took too long.
inline bool is_late(Clock::time_point begin, std::chrono::nanoseconds timeout) {
  return timeout.count() != 0 && Clock::now() - begin > timeout;
}

/// A function's outcome, at once.
template <class R, class Call>
Outcome<R> call_inline(InlineCore& core, Call&& call, std::chrono::nanoseconds timeout, const std::string& name) {
  Outcome<R> outcome;
  const Clock::time_point begin = Clock::now();
  ++core.stats.running;
  call_into(outcome, call);
  --core.stats.running;
  if (is_late(begin, timeout)) outcome.set_error(timeout_error(name, timeout));
  ++(outcome.has_error() ? core.stats.failed : core.stats.completed);
  return outcome;
}

template <class R, class F, class... A>
Future<R> inline_future(InlineCore& core, std::tuple<F, A...>& call, std::chrono::nanoseconds timeout,
                        const std::string& name) {
  Outcome<R> outcome = call_inline<R>(
      core, [&]() -> decltype(auto) { return call_once(call); }, timeout, name);
  Promise<R> promise;
  Future<R> future = promise.future();
  if (outcome.has_error())
    promise.set_exception(outcome.error());
  else if constexpr (std::is_void_v<R>)
    promise.set_result();
  else
    promise.set_result(std::move(outcome.value()));
  return future;
}

/// What the task that `call` gives ends with, in time. `call` and `outcome` must outlive it.
template <class R, class Call>
Task<> await_into(Outcome<R>& outcome, Call& call, std::chrono::nanoseconds timeout, const std::string& name) {
  const Clock::time_point begin = Clock::now();
  try {
    auto task = call();
    if (timeout.count() != 0) task = wait_for(std::move(task), timeout);
    if constexpr (std::is_void_v<R>) {
      co_await std::move(task);
      outcome.set_value();
    } else {
      outcome.set_value(co_await std::move(task));
    }
  } catch (const TimeoutError&) {
    // The task may have thrown it itself, before.
    outcome.set_error(is_late(begin, timeout) ? timeout_error(name, timeout) : std::current_exception());
  } catch (...) {
    outcome.set_error(std::current_exception());
  }
}

template <class R, class F, class... A>
Task<R> inline_task(InlineCall running, std::tuple<F, A...> call, std::chrono::nanoseconds timeout, std::string name) {
  Outcome<R> outcome;
  const auto make_task = [&]() -> decltype(auto) { return call_once(call); };
  co_await await_into(outcome, make_task, timeout, name);
  running.ended(outcome.has_error() ? outcome.error() : nullptr);
  co_return outcome.take();
}

/// The stream that the call gives, with all that it refers to.
template <class R, class F, class... A>
Stream<R> inline_stream(std::tuple<F, A...> call) {
  Stream<R> values = call_once(call);
  while (auto value = co_await values.next()) {
    if constexpr (std::is_void_v<R>)
      co_yield {};
    else
      co_yield std::move(*value);
  }
}

/// A map's items, each when it is asked for. They come as outcomes, since a coroutine that throws has ended.
template <class R, class Arguments, class F, class Input>
Stream<Outcome<R>> inline_items(IntrusivePtr<InlineCore> core, MapOptions options, Clock::time_point begin, F function,
                                Input input) {
  const std::string name = name_of_call(function);
  for (bool more = true; more;) {
    Outcome<R> outcome;
    std::optional<Arguments> arguments;
    try {
      if constexpr (is_stream<Input>) {
        auto value = co_await input.next();
        if (value) arguments.emplace(std::move(*value));
        more = value.has_value();
      } else {
        more = input.take([&](auto&&... argument) {
          try {
            arguments.emplace(std::forward<decltype(argument)>(argument)...);
          } catch (...) {
            outcome.set_error(std::current_exception());
          }
        });
      }
      if (more && is_late(begin, options.timeout)) std::rethrow_exception(timeout_error("the map", options.timeout));
    } catch (...) {
      arguments.reset();
      outcome.set_error(std::current_exception());
      more = false;
    }
    if (arguments) {
      ++core->stats.submitted;
      const auto call = [&]() -> decltype(auto) { return std::apply(function, std::move(*arguments)); };
      if constexpr (is_task<std::remove_cvref_t<decltype(call())>>) {
        InlineCall running(core);
        co_await await_into(outcome, call, options.item_timeout, name);
        running.ended(outcome.has_error() ? outcome.error() : nullptr);
      } else {
        outcome = call_inline<R>(*core, call, options.item_timeout, name);
      }
    }
    if (more || outcome.has_error()) co_yield std::move(outcome);
  }
}

template <class R>
class InlineMapSource final : public StreamSource<R> {
 public:
  /// `size` is the number of items, if that is known.
  InlineMapSource(Stream<Outcome<R>> items, std::optional<std::uint64_t> size) noexcept
      : items_(StreamAccess::source(std::move(items))), left_(size) {}

  bool ready() override { return items_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    return items_->wait(waiter, consumer, context);
  }
  void abandon_wait() noexcept override { items_->abandon_wait(); }
  std::optional<Stored<R>> take() override {
    std::optional<Outcome<R>> next = items_->take();
    if (!next) return std::nullopt;
    if (left_ && *left_ > 0) --*left_;
    if (next->has_error()) std::rethrow_exception(next->error());
    return std::optional<Stored<R>>(std::move(next->value()));
  }
  void close() noexcept override {
    left_ = 0;
    items_->close();
  }
  std::optional<std::uint64_t> expected() const override { return left_; }

 private:
  std::unique_ptr<StreamSource<Outcome<R>>> items_;
  std::optional<std::uint64_t> left_;
};

}  // namespace cofork::detail
