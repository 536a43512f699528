// Channel<T>: values from coroutine to coroutine.
#pragma once

#include <cofork/runtime/sleep.hpp>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

namespace cofork {

template <class T>
class Channel;

namespace detail {

template <class T>
class [[nodiscard("co_await it")]] SendAwaiter {
 public:
  SendAwaiter(Channel<T> & channel, T && value) : channel_(channel), node_(std::move(value)) {}
  /// Only before it is awaited.
  SendAwaiter(SendAwaiter && other) : SendAwaiter(other.channel_, std::move(other.node_.value)) {}

  bool await_ready() { return node_.sent = channel_.try_send(node_.value); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    Context* const context = context_of(handle);
    if (context && context->cancelled()) {
      interrupted_ = true;
      return false;
    }
    node_.suspend(handle, context, "a channel's receiver", [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
    channel_.senders_.push_back(node_);
    return true;
  }
  void await_resume() const {
    if (interrupted_ || node_.cancelled()) throw CancelledError();
    if (!node_.sent) Channel<T>::throw_closed();
  }

  operator Task<>()&& { return as_task<void>(std::move(*this)); }

 private:
  friend class Channel<T>;
  struct Node : Waiter {
    explicit Node(T&& unsent) : value(std::move(unsent)) {}
    T value;
    bool sent = false;
  };

  Channel<T>& channel_;
  Node node_;
  bool interrupted_ = false;
};

template <class T>
class [[nodiscard("co_await it")]] ReceiveAwaiter {
 public:
  explicit ReceiveAwaiter(Channel<T> & channel) noexcept : channel_(channel) {}
  /// Only before it is awaited.
  ReceiveAwaiter(const ReceiveAwaiter& other) noexcept : channel_(other.channel_) {}
  ~ReceiveAwaiter() {
    // The coroutine was destroyed after it had been given a value, but before it went on.
    if (node_.value) channel_.take_back(std::move(*node_.value));
  }

  bool await_ready() { return channel_.try_receive(node_.value); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    Context* const context = context_of(handle);
    if (context && context->cancelled()) {
      interrupted_ = true;
      return false;
    }
    node_.suspend(handle, context, "a channel's sender", [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
    channel_.receivers_.push_back(node_);
    return true;
  }
  std::optional<T> await_resume() {
    if (interrupted_ || node_.cancelled()) throw CancelledError();
    return std::exchange(node_.value, std::nullopt);
  }

  operator Task<std::optional<T>>() const { return as_task<std::optional<T>>(*this); }

 private:
  friend class Channel<T>;
  struct Node : Waiter {
    std::optional<T> value;
  };

  Channel<T>& channel_;
  Node node_;
  bool interrupted_ = false;
};

}  // namespace detail

/// Passes values among the coroutines of one loop, in order, with backpressure (`asyncio.Queue` with `shutdown`). Any
/// number of senders and receivers, who are served in the order in which they came. It must outlive those who wait for
/// it; if it is destroyed before, they are left to their cancellation. Between processes: `ipc::Queue`.
template <class T>
class Channel {
 public:
  /// Holds up to `capacity` values that nobody has received yet. With 0 every send waits for its receiver.
  explicit Channel(std::size_t capacity) : capacity_(capacity) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// Waits until there is room for `value`. `InvalidStateError` if the channel is closed, before or meanwhile. When it
  /// throws, the value was not sent. Cancelling ends the wait at once, unless the value is gone already.
  detail::SendAwaiter<T> send(T value) { return detail::SendAwaiter<T>(*this, std::move(value)); }

  /// Waits for the next value; nullopt when the channel is closed and everything that was sent has been received.
  /// Cancelling ends the wait at once; a value that was already handed over is delivered, and given back to the channel
  /// if the receiver is destroyed instead.
  detail::ReceiveAwaiter<T> recv() noexcept { return detail::ReceiveAwaiter<T>(*this); }

  /// No more values: whoever waits to send gets `InvalidStateError`; receivers get what was sent before, then nullopt.
  /// Idempotent.
  void close() noexcept {
    closed_ = true;
    while (!receivers_.empty()) receivers_.front().resume_later();
    while (!senders_.empty()) senders_.front().resume_later();
  }

 private:
  friend class detail::SendAwaiter<T>;
  friend class detail::ReceiveAwaiter<T>;
  using Sender = typename detail::SendAwaiter<T>::Node;
  using Receiver = typename detail::ReceiveAwaiter<T>::Node;

  [[noreturn]] static void throw_closed() { throw InvalidStateError("the channel is closed"); }

  bool hand_to_receiver(T& value) {
    if (receivers_.empty()) return false;
    auto& receiver = static_cast<Receiver&>(receivers_.front());
    receiver.value.emplace(std::move(value));
    receiver.resume_later();
    return true;
  }

  bool try_send(T& value) {
    if (closed_) throw_closed();
    if (hand_to_receiver(value)) return true;
    if (values_.size() >= capacity_) return false;
    values_.push_back(std::move(value));
    return true;
  }

  // Also true at the end, with no value.
  bool try_receive(std::optional<T>& into) {
    if (values_.empty()) {
      if (senders_.empty()) return closed_;
      accept_first([&](T& value) { into.emplace(std::move(value)); });
      return true;
    }
    into.emplace(std::move(values_.front()));
    values_.pop_front();
    if (!senders_.empty() && values_.size() < capacity_)
      accept_first([&](T& value) { values_.push_back(std::move(value)); });
    return true;
  }

  template <class F>
  void accept_first(F accept) {
    auto& sender = static_cast<Sender&>(senders_.front());
    accept(sender.value);
    sender.sent = true;
    sender.resume_later();
  }

  void take_back(T&& value) {
    if (!hand_to_receiver(value)) values_.push_front(std::move(value));
  }

  const std::size_t capacity_;
  std::deque<T> values_;
  detail::List<detail::Waiter> senders_;
  detail::List<detail::Waiter> receivers_;
  bool closed_ = false;
};

}  // namespace cofork
