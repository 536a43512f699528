// One call that was submitted to a thread pool: the work behind its future.
#pragma once

#include <cofork/executors/local_call.hpp>
#include <cofork/executors/thread_pool_core.hpp>
#include <cofork/executors/thread_work.hpp>
#include <cofork/runtime/branches.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/outcome.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace cofork::detail {

/// Executes calls of one kind, tasks or not, and can stop tasks.
template <bool is_coroutine>
class ThreadExecution {
 public:
  template <class R, class Call>
  void execute(Outcome<R>& outcome, Call&& call) noexcept {
    call_into(outcome, call);
  }
  bool request_stop() noexcept { return false; }
};
template <>
class ThreadExecution<true> {
 public:
  template <class R, class Call>
  void execute(Outcome<R>& outcome, Call&& call) noexcept {
    run_into(outcome, call, stop_.get_token());
  }
  bool request_stop() noexcept {
    stop_.request_stop();
    return true;
  }

 private:
  std::stop_source stop_;
};

/// How an outcome counts. A coroutine that ends with `CancelledError` was cancelled.
template <bool is_coroutine, class R>
ThreadPoolCore::Ended how_ended(const Outcome<R>& outcome) noexcept {
  if (!outcome.has_error()) return ThreadPoolCore::Ended::value;
  if (is_coroutine && is_cancellation(outcome.error())) return ThreadPoolCore::Ended::cancelled;
  return ThreadPoolCore::Ended::error;
}

template <class R, class F, class... A>
class SubmittedThreadCall final : public FutureState<R>, public ThreadWork {
 public:
  SubmittedThreadCall(IntrusivePtr<ThreadPoolCore> pool, const SubmitOptions& options, F&& function, A&&... arguments)
      : ThreadWork(std::move(pool), options.priority, options.timeout),
        call_(std::in_place, std::move(function), std::move(arguments)...),
        name_(options.name) {}

  void start() { core().enqueue(*this); }

  void add_reference() noexcept override { FutureStateBase::add_reference(); }
  void drop_reference() noexcept override { FutureStateBase::drop_reference(); }

  bool cancel() override {
    if (this->done()) return this->cancelled();
    const IntrusivePtr<ThreadWork> alive(this);
    if (!core().take_back(*this)) return false;
    give_up(nullptr);
    return true;
  }
  bool kill() override { return !this->done() && (cancel() || request_stop()); }
  bool running() const override { return executing(); }
  /// A thread cannot be stopped, but it comes to its end.
  bool stop_for_awaiter() override {
    kill();
    return true;
  }

 private:
  static constexpr bool is_coroutine = returns_task<F, A...>;

  void execute() noexcept override {
    execution_.execute(outcome_, [this]() -> decltype(auto) { return call_once(*call_); });
  }
  void executed() noexcept override {
    call_.reset();
    if (this->done()) return outcome_.reset();
    const ThreadPoolCore::Ended ended = how_ended<is_coroutine>(outcome_);
    core().count(ended);
    if (ended == ThreadPoolCore::Ended::value)
      this->finish_value(std::move(outcome_.value()));
    else if (ended == ThreadPoolCore::Ended::error)
      this->finish_error(outcome_.error());
    else
      this->finish_cancelled();
  }
  void give_up(std::exception_ptr error) noexcept override {
    if (!executing()) call_.reset();
    core().count(error ? ThreadPoolCore::Ended::error : ThreadPoolCore::Ended::cancelled);
    if (error)
      this->finish_error(std::move(error));
    else
      this->finish_cancelled();
  }
  bool request_stop() noexcept override { return executing() && execution_.request_stop(); }
  std::string name() const override { return name_.empty() ? name_of_call(std::get<0>(*call_)) : name_; }

  std::optional<std::tuple<F, A...>> call_;
  Outcome<R> outcome_;
  [[no_unique_address]] ThreadExecution<is_coroutine> execution_;
  const std::string name_;
};

}  // namespace cofork::detail
