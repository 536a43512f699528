// A stream as the input of a map.
#pragma once

#include <cofork/runtime/event.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <deque>
#include <exception>
#include <optional>
#include <utility>

namespace cofork::detail {

/// Awaits the values of a stream, some ahead of what is taken, in a coroutine of its own. The owner, which outlives it,
/// has `pull_more()`, in which it may stop this, and `read_ahead()`, the number of values that may lie here.
template <class T, class Owner>
class StreamAhead {
 public:
  StreamAhead(Stream<T> input, Owner& owner) : input_(std::move(input)), owner_(owner) {}
  StreamAhead(const StreamAhead&) = delete;
  StreamAhead& operator=(const StreamAhead&) = delete;
  ~StreamAhead() { stop(); }

  void start() {
    reader_ = make_intrusive<SpawnedTask<void>>(read(), "the input of a map");
    reader_->start(Loop::current().root());
  }
  void stop() noexcept {
    stopped_ = true;
    if (telling_) return;  // it ends by itself
    if (const IntrusivePtr<SpawnedTask<void>> reader = std::exchange(reader_, {})) reader->abandon();
  }

  bool empty() const noexcept { return arrived_.empty(); }
  T take() {
    T value = std::move(arrived_.front());
    arrived_.pop_front();
    taken_from_.set();
    return value;
  }
  /// Nothing comes after what is here. With the stream's error, if it ended with one.
  bool ended() const noexcept { return ended_; }
  const std::exception_ptr& error() const noexcept { return error_; }

 private:
  Task<> read() {
    try {
      while (std::optional<T> value = co_await input_.next()) {
        arrived_.push_back(std::move(*value));
        tell();
        if (stopped_) co_return;
        while (arrived_.size() > owner_.read_ahead()) {
          taken_from_.clear();
          co_await taken_from_.wait();
        }
      }
    } catch (...) {
      error_ = std::current_exception();
    }
    ended_ = true;
    tell();
  }
  void tell() {
    telling_ = true;
    owner_.pull_more();
    telling_ = false;
  }

  Stream<T> input_;
  Owner& owner_;
  std::deque<T> arrived_;
  std::exception_ptr error_;
  bool ended_ = false;
  bool telling_ = false;
  bool stopped_ = false;
  Event taken_from_;
  IntrusivePtr<SpawnedTask<void>> reader_;
};

}  // namespace cofork::detail
