// to_thread(): a function that blocks, in libuv's thread pool.
#pragma once

#include <atomic>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/outcome.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {

/// A request to libuv's thread pool. Its loop waits for its end.
class ThreadRequest : private LoopResource {
 public:
  ThreadRequest(const ThreadRequest&) = delete;
  ThreadRequest& operator=(const ThreadRequest&) = delete;

 protected:
  ThreadRequest();
  ~ThreadRequest();

  void queue();
  /// True if no thread had taken it: `execute` will not be called, `executed` will.
  bool take_back() noexcept;
  bool executing() const noexcept { return executing_.load(std::memory_order_relaxed); }

  /// On a thread of the pool.
  virtual void execute() noexcept = 0;
  /// On the loop's thread; `taken_back` if it was not executed. May destroy this.
  virtual void executed(bool taken_back) noexcept = 0;
  /// The loop is about to end.
  virtual void give_up() noexcept = 0;

 private:
  struct Request;
  void loop_closing() noexcept override;

  Loop& loop_;
  std::unique_ptr<Request> request_;
  std::atomic<bool> executing_ = false;
  bool* ended_ = nullptr;  // where the closing loop wants to be told
};

/// A call in a thread as the work behind a future. It refers to itself until libuv is through with it.
template <class R, class F, class... A>
class ThreadCall final : public FutureState<R>, private ThreadRequest {
 public:
  explicit ThreadCall(F&& function, A&&... arguments)
      : call_(std::in_place, std::move(function), std::move(arguments)...) {}

  void start() {
    queue();
    this->add_reference();
  }

  bool cancel() override {
    if (this->done()) return this->cancelled();
    if (!take_back()) return false;
    this->finish_cancelled();
    return true;
  }
  bool running() const override { return executing(); }
  /// A thread cannot be stopped, but it comes to its end.
  bool stop_for_awaiter() override {
    cancel();
    return true;
  }

 private:
  void execute() noexcept override {
    const auto call = [this]() -> R {
      return std::apply([](F& f, A&... arguments) -> R { return std::invoke(std::move(f), std::move(arguments)...); },
                        *call_);
    };
    try {
      if constexpr (std::is_void_v<R>) {
        call();
        outcome_.set_value();
      } else {
        outcome_.set_value(call());
      }
    } catch (...) {
      outcome_.set_error(std::current_exception());
    }
  }

  void executed(bool taken_back) noexcept override {
    call_.reset();
    if (outcome_.has_error())
      this->finish_error(outcome_.error());
    else if (!taken_back)
      this->finish_value(std::move(outcome_.value()));
    this->drop_reference();
  }

  void give_up() noexcept override { cancel(); }

  std::optional<std::tuple<F, A...>> call_;
  Outcome<R> outcome_;
};

}  // namespace detail

/// Calls `function(arguments...)` on a thread of libuv's pool (`asyncio.to_thread`), which has UV_THREADPOOL_SIZE of
/// them, 4 by default, for the whole process. Function and arguments are moved there and destroyed on the loop's
/// thread; the result, or the exception, comes through the future.
///
/// `cancel()` and `kill()` work until a thread has begun; `running()` tells that one has. So cancelling an awaiter
/// cancels a call that has not begun, and waits for one that has. The end of `run()` does the same. `std::logic_error`
/// where no loop is running.
template <class F, class... A>
requires std::is_invocable_v<F, A...> Future<std::invoke_result_t<F, A...>> to_thread(F function, A... arguments) {
  using R = std::invoke_result_t<F, A...>;
  auto call = detail::make_intrusive<detail::ThreadCall<R, F, A...>>(std::move(function), std::move(arguments)...);
  call->start();
  return detail::FutureAccess::make<R>(std::move(call));
}

}  // namespace cofork
