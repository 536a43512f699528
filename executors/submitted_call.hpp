// One call that was submitted to a process pool: the work behind its future.
#pragma once

#include <cofork/executors/callable.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/executors/work.hpp>
#include <cofork/runtime/future.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace cofork::detail {

/// What does not depend on the types of the call.
class SubmittedWork : public Piece, public QueueEntry {
 public:
  void add_reference() noexcept override = 0;
  void drop_reference() noexcept override = 0;

  void failed(std::uint32_t, std::exception_ptr error) noexcept override;
  void cancelled(std::uint32_t) noexcept override { end_ = End::cancelled; }
  void used(std::uint32_t, const TaskUsage& usage) noexcept override { usage_ = usage; }
  void complete() noexcept override;
  bool urgent() const noexcept override { return future_.has_listeners(); }
  IntrusivePtr<Piece> split(std::uint32_t, std::uint32_t) override { return IntrusivePtr<Piece>(this); }

  Filled fill(ipc::TaskSender::Message& message, std::uint32_t items) override;
  void drop(const std::exception_ptr& error) noexcept override;
  const FunctionStatistics& expectation() const noexcept override { return *statistics; }
  bool needs_own_worker() const noexcept override { return limits.resources.any(); }

  /// Encoded and sent at once where a worker can take it, queued otherwise.
  template <class Encode, class Hold>
  void submit(Encode encode, Hold hold) {
    core_->count_submitted(1);
    if (PoolObserver* observer = core_->observer()) observer->queued(*this, 1);
    PoolWorker* worker = limits.resources.any() ? nullptr : core_->worker_for_now(*statistics, priority);
    if (!worker) {
      hold();
      core_->enqueue(*this);
      return;
    }
    try {
      encode(worker->sender.begin_frame());
      core_->send(*worker, {IntrusivePtr<Piece>(this), function_, 1, 0, 0});
    } catch (...) {
      worker->sender.drop_frame();
      future_.finish_error(std::current_exception());
    }
  }

 protected:
  SubmittedWork(IntrusivePtr<PoolCore> core, const SubmitOptions& options, ipc::TaskSender::Function function,
                std::uint64_t function_key, FutureStateBase& future);
  ~SubmittedWork() = default;

  virtual void encode_held(ipc::Writer& writer) = 0;
  /// It will not be executed: frees its arguments, which may be handles, though the future lives on.
  virtual void forget_held() noexcept = 0;
  virtual std::string function_name() const = 0;
  virtual void finish_with_value() noexcept = 0;
  void has_value() noexcept { end_ = End::value; }

  bool cancel_work();
  bool kill_work();
  /// Ends it wherever it is, without telling anybody yet.
  void stop_work();
  /// The consumer has taken a value of the stream that this is, which came in so many bytes.
  void value_taken(std::uint64_t bytes);
  /// `complete` is called soon.
  void tell_later() { core_->ended(IntrusivePtr<Piece>(this)); }
  bool executing() const { return core_->executing(*this); }
  std::string name() const override { return name_.empty() ? function_name() : name_; }
  const std::string* own_name() const noexcept override { return name_.empty() ? nullptr : &name_; }
  const std::optional<TaskUsage>& measured() const noexcept { return usage_; }

 private:
  enum class End : unsigned char { none, value, error, cancelled };

  IntrusivePtr<PoolCore> core_;
  ipc::TaskSender::Function function_;
  FutureStateBase& future_;
  std::exception_ptr error_;
  std::string name_;
  std::optional<TaskUsage> usage_;
  End end_ = End::none;
};

/// With the function and its arguments; `State` is what the caller waits for.
template <class State, class F, class Parameters, class Held>
class TypedCall : public State, public SubmittedWork {
 public:
  TypedCall(IntrusivePtr<PoolCore> core, const SubmitOptions& options, F function)
      : SubmittedWork(std::move(core), options, remote_function<F, Parameters>(), function_key<F, Parameters>(function),
                      *this),
        function_(function) {
    is_coroutine = RemoteCall<F, Parameters>::is_coroutine;
  }

  void add_reference() noexcept override { FutureStateBase::add_reference(); }
  void drop_reference() noexcept override { FutureStateBase::drop_reference(); }

  template <class... A>
  void submit(A&&... arguments) {
    SubmittedWork::submit(
        [&](ipc::Writer& writer) { encode_call<F, Parameters>(writer, function_, take_argument<A>(arguments)...); },
        [&] { hold(std::forward<A>(arguments)...); });
  }

 private:
  template <class... A>
  void hold(A&&... arguments) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      held_.emplace(hold_argument<std::tuple_element_t<i, Parameters>>(std::forward<A>(arguments))...);
    }
    (std::index_sequence_for<A...>());
  }
  void encode_held(ipc::Writer& writer) override {
    // Freed as soon as it is sent.
    const std::optional<Held> held = std::exchange(held_, std::nullopt);
    std::apply([&](const auto&... argument) { encode_call<F, Parameters>(writer, function_, argument...); }, *held);
  }
  void forget_held() noexcept override { static_cast<void>(std::exchange(held_, std::nullopt)); }
  std::string function_name() const override { return name_of_function(function_); }

  [[no_unique_address]] F function_;
  std::optional<Held> held_;
};

template <class R, class F, class Parameters, class Held>
class SubmittedCall final : public TypedCall<FutureState<R>, F, Parameters, Held> {
 public:
  using TypedCall<FutureState<R>, F, Parameters, Held>::TypedCall;

  bool cancel() override { return this->done() ? FutureStateBase::cancelled() : this->cancel_work(); }
  bool kill() override { return !this->done() && this->kill_work(); }
  bool running() const override { return this->executing(); }
  std::optional<TaskUsage> usage() const override { return this->done() ? this->measured() : std::nullopt; }

  void value(std::uint32_t, ipc::Reader& reader) override {
    if constexpr (std::is_void_v<R>)
      result_.set_value();
    else
      result_.set_value(ipc::decode<R>(reader));
    reader.finish();
    this->has_value();
  }

 private:
  void finish_with_value() noexcept override {
    this->finish_value(std::move(result_.value()));
    result_.reset();
  }

  Outcome<R> result_;
};

}  // namespace cofork::detail
