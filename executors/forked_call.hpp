// One call in a forked child: the work behind its future, or its stream.
#pragma once

#include <cofork/executors/callable.hpp>
#include <cofork/executors/fork_core.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/stream.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace cofork::detail {

template <class F>
std::string name_of_callable(const F& function) {
  if constexpr (is_function_pointer<F>)
    return name_of_function(function);
  else
    return type_name(typeid(F));
}

template <class F, class... A>
class ForkedCallBody final : public ForkedBody {
 public:
  explicit ForkedCallBody(F&& function, A&&... arguments)
      : function_(std::move(function)), arguments_(std::move(arguments)...) {
    this->set_memory(this, sizeof *this);
  }

  void run(ForkedResults& results) override {
    using Returned = std::remove_cvref_t<std::invoke_result_t<F, A...>>;
    // Both outlive the call, and the coroutine that it may return.
    const auto call = [this]() -> decltype(auto) { return std::apply(std::move(function_), std::move(arguments_)); };
    if constexpr (is_stream<Returned>)
      return cofork::run(send_all(call(), results));
    else if constexpr (is_task<Returned>)
      give(results, [&] { return cofork::run(call()); });
    else
      give(results, call);
  }

  void copy_arguments() const override {
    if constexpr ((CanBeCopied<A>::value && ...)) [[maybe_unused]]
      const std::tuple<A...> copy(arguments_);
  }

 private:
  template <class Call>
  static void give(ForkedResults& results, const Call& call) {
    if constexpr (std::is_void_v<std::invoke_result_t<Call>>) {
      call();
      results.hold_back();
      results.no_value();
    } else {
      decltype(auto) result = call();
      results.hold_back();
      results.value<std::remove_cvref_t<decltype(result)>>(result);
    }
  }

  template <class T>
  static Task<> send_all(Stream<T> stream, ForkedResults& results) {
    while (auto value = co_await stream.next()) {
      if constexpr (std::is_void_v<T>)
        results.no_value();
      else
        results.value<T>(*value);
    }
    results.hold_back();
    results.end();
  }

  F function_;
  std::tuple<A...> arguments_;
};

template <class R>
class ForkedCall final : public FutureState<R>, public ForkedTask {
 public:
  ForkedCall(IntrusivePtr<ForkCore> core, const SubmitOptions& options, std::unique_ptr<ForkedBody> body,
             const std::string& function_name)
      : ForkedTask(std::move(core), options, std::move(body), function_name) {}

  void add_reference() noexcept override { FutureStateBase::add_reference(); }
  void drop_reference() noexcept override { FutureStateBase::drop_reference(); }

  bool cancel() override { return this->done() ? FutureStateBase::cancelled() : cancel_waiting(); }
  bool kill() override { return !this->done() && stop(); }
  bool running() const override { return executing(); }
  std::optional<TaskUsage> usage() const override { return task_usage(); }

 private:
  void received(ipc::Reader& message) override {
    if constexpr (std::is_void_v<R>)
      result_.set_value();
    else
      result_.set_value(ipc::decode<R>(message));
  }
  void settled() noexcept override {
    switch (outcome()) {
      case Outcome::value:
        this->finish_value(std::move(result_.value()));
        return result_.reset();
      case Outcome::error:
        return this->finish_error(error());
      case Outcome::none:
      case Outcome::cancelled:
        return this->finish_cancelled();
    }
  }

  detail::Outcome<R> result_;
};

/// A call that gives a stream: what the child has sent waits in the socket until the consumer asks for it.
template <class T>
class ForkedStreamCall final : public RefCounted, public ForkedTask {
 public:
  ForkedStreamCall(IntrusivePtr<ForkCore> core, const SubmitOptions& options, std::unique_ptr<ForkedBody> body,
                   const std::string& function_name)
      : ForkedTask(std::move(core), options, std::move(body), function_name) {}

  void add_reference() noexcept override { RefCounted::add_reference(); }
  void drop_reference() noexcept override { RefCounted::drop_reference(); }

  /// Whether there is something to take; receives it if it has come.
  bool ready() {
    if (!consumer_.is_here()) return false;
    if (closed_ || next_ || outcome() != Outcome::none) return true;
    const MessageSocket::Received received = receive_one();
    if (received == MessageSocket::Received::done) return true;
    if (!settled_) {
      // At the end of the socket the child's end is about to be seen.
      if (received == MessageSocket::Received::ended) stop_listening();
      return false;
    }
    ended_without_result();
    return true;
  }
  std::optional<Stored<T>> take() {
    if (closed_) return std::nullopt;
    if (next_) return std::exchange(next_, std::nullopt);
    const Outcome ended = outcome();
    const std::exception_ptr thrown = error();
    close();
    if (ended == Outcome::error) std::rethrow_exception(thrown);
    if (ended == Outcome::cancelled) throw CancelledError();
    return std::nullopt;
  }
  void close() noexcept {
    if (closed_ || !consumer_.is_here()) return;
    closed_ = true;
    stop_listening();
    next_.reset();
    stop();
    consumer_.wake();
  }
  void wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) {
    consumer_.wait(waiter, consumer, context);
    if (!settled_) listen();
  }

 private:
  void received(ipc::Reader& message) override {
    if constexpr (std::is_void_v<T>)
      next_.emplace();
    else
      next_.emplace(ipc::decode<T>(message));
  }
  bool is_stream() const noexcept override { return true; }
  void settled() noexcept override {
    stop_listening();
    settled_ = true;
    if (consumer_.waiting() && ready()) consumer_.wake();
  }
  void arrived() override {
    if (!ready()) return;
    stop_listening();
    consumer_.wake();
  }

  StreamConsumer consumer_;
  std::optional<Stored<T>> next_;
  bool closed_ = false;
  bool settled_ = false;  // the child has ended
};

template <class T>
class ForkedStream final : public StreamSource<T> {
 public:
  explicit ForkedStream(IntrusivePtr<ForkedStreamCall<T>> call) noexcept : call_(std::move(call)) {}
  ~ForkedStream() override { call_->close(); }

  bool ready() override { return call_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    call_->wait(waiter, consumer, context);
    return true;
  }
  std::optional<Stored<T>> take() override { return call_->take(); }
  void close() noexcept override { call_->close(); }

 private:
  IntrusivePtr<ForkedStreamCall<T>> call_;
};

}  // namespace cofork::detail
