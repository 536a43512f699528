// A call that was submitted to a process pool and whose function returns a stream: the caller's end of that.
#pragma once

#include <cofork/executors/submitted_call.hpp>
#include <cofork/runtime/stream.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace cofork::detail {

/// Its state as a future is the end of the stream.
template <class R, class F, class Parameters, class Held>
class StreamedCall final : public TypedCall<FutureStateBase, F, Parameters, Held> {
 public:
  using Value = R;
  using TypedCall<FutureStateBase, F, Parameters, Held>::TypedCall;

  // For the consumer.

  bool ready() const noexcept { return closed_ || !values_.empty() || undecodable_ || this->done(); }
  std::optional<Stored<R>> take() {
    if (closed_) return std::nullopt;
    if (!values_.empty()) {
      Arrived arrived = std::move(values_.front());
      values_.pop_front();
      this->limits.retries = 0;  // it cannot be untaken
      this->value_taken(arrived.bytes);
      return std::move(arrived.value);
    }
    closed_ = true;
    if (undecodable_) std::rethrow_exception(undecodable_);
    this->rethrow_error();
    return std::nullopt;
  }
  void close() noexcept {
    if (closed_) return;
    closed_ = true;
    values_.clear();
    if (!this->done()) this->stop_work();
    consumer.wake();
  }
  StreamConsumer consumer;

  // Piece

  void value(std::uint32_t, ipc::Reader& reader) override {
    reader.finish();
    this->has_value();
  }
  void streamed(ipc::Reader& reader) override {
    const std::size_t bytes = reader.remaining();
    if (closed_ || undecodable_) return this->value_taken(bytes);
    try {
      if constexpr (std::is_void_v<R>) {
        reader.finish();
        values_.push_back({{}, bytes});
      } else {
        R decoded = ipc::decode<R>(reader);
        reader.finish();
        values_.push_back({std::move(decoded), bytes});
      }
    } catch (...) {
      undecodable_ = std::current_exception();
      this->tell_later();
    }
    if (consumer.waiting()) this->limits.retries = 0;
    consumer.wake();
  }
  void complete() noexcept override {
    if (undecodable_ && !this->done()) this->stop_work();
    SubmittedWork::complete();
    if (this->done()) consumer.wake();
  }
  bool urgent() const noexcept override { return consumer.waiting(); }
  bool has_known_time() const noexcept override { return false; }
  IntrusivePtr<Piece> split(std::uint32_t, std::uint32_t) override {
    values_.clear();  // it begins again
    return IntrusivePtr<Piece>(this);
  }

 private:
  void finish_with_value() noexcept override { this->finish(FutureStateBase::Status::finished); }

  struct Arrived {
    Stored<R> value;
    std::size_t bytes;
  };
  std::deque<Arrived> values_;
  std::exception_ptr undecodable_;  // why the value after these could not be decoded
  bool closed_ = false;
};

template <class Call>
class StreamedSource final : public StreamSource<typename Call::Value> {
  using Value = typename Call::Value;

 public:
  explicit StreamedSource(IntrusivePtr<Call> call) noexcept : call_(std::move(call)) {}
  ~StreamedSource() override { close(); }

  bool ready() override { return call_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    call_->consumer.wait(waiter, consumer, context);
    return true;
  }
  std::optional<Stored<Value>> take() override { return call_->take(); }
  void close() noexcept override {
    if (call_->consumer.is_here()) call_->close();
  }

 private:
  IntrusivePtr<Call> call_;
};

}  // namespace cofork::detail
