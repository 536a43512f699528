// Progress: how far a map is, told to a function and drawn on a terminal.
#pragma once

#include <chrono>
#include <cofork/runtime/stream.hpp>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace cofork {

/// How far the streams are that a `Progress` watches.
struct ProgressReport {
  /// Values and errors that were taken out of the streams; `failed` of them were errors.
  std::uint64_t done = 0, failed = 0;
  /// Of `done` in the end, if that is known.
  std::optional<std::uint64_t> total{};
  /// Since the first stream was watched.
  std::chrono::nanoseconds elapsed{};
  /// Per second, on average.
  double rate = 0;
  /// Until the end, at this rate, if the total is known and something is done.
  std::optional<std::chrono::nanoseconds> left{};
  /// All streams have ended. The last report says so, unless a stream was closed before its end.
  bool finished = false;
};

struct ProgressOptions {
  /// How many values there will be in all; 0: what the streams know themselves, which those of maps over sized ranges
  /// do.
  std::uint64_t total = 0;
  /// What the bar begins with.
  std::string_view label{};
  /// Between two reports, or two drawings of the bar, at least; the last one is never held back.
  std::chrono::nanoseconds interval = std::chrono::milliseconds(100);
  /// Draws a bar, where `descriptor` is a terminal.
  bool bar = true;
  /// Where the bar is drawn: standard error.
  int descriptor = 2;
};

namespace detail {

/// What a `Progress` and the streams that it watches share.
class ProgressState {
 public:
  virtual ~ProgressState() = default;
  virtual void began(std::optional<std::uint64_t> expected) = 0;
  virtual void took(bool failed) = 0;
  /// `early`: closed before its end.
  virtual void ended(bool early) noexcept = 0;
};

/// The source of a stream, watched.
template <class T>
class WatchedSource final : public StreamSource<T> {
 public:
  WatchedSource(std::unique_ptr<StreamSource<T>> source, std::shared_ptr<ProgressState> state)
      : source_(std::move(source)), state_(std::move(state)) {
    state_->began(source_->expected());
  }
  ~WatchedSource() override { end(true); }

  bool ready() override { return source_->ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    return source_->wait(waiter, consumer, context);
  }
  void abandon_wait() noexcept override { source_->abandon_wait(); }
  std::optional<Stored<T>> take() override {
    try {
      std::optional<Stored<T>> value = source_->take();
      if (value)
        state_->took(false);
      else
        end(false);
      return value;
    } catch (...) {
      state_->took(true);
      throw;
    }
  }
  void close() noexcept override {
    source_->close();
    end(true);
  }
  std::optional<std::uint64_t> expected() const override { return source_->expected(); }

 private:
  void end(bool early) noexcept {
    if (!std::exchange(ended_, true)) state_->ended(early);
  }

  std::unique_ptr<StreamSource<T>> source_;
  std::shared_ptr<ProgressState> state_;
  bool ended_ = false;
};

}  // namespace detail

/// Counts what is taken out of streams, and tells of it: Python programs use `tqdm` for that.
///
///     Progress progress({.label = "scoring"});
///     auto scores = progress.watch(pool.map(score, documents));
///     while (auto score = co_await scores.next()) ...
///
///     scoring  45 % [=========>           ] 450/1000, 3 failed, 312/s, 1.8 s left
///
/// The bar fits the width of the terminal, is drawn ten times a second at most and only when something has changed, and
/// not at all if `descriptor` is no terminal, if TERM is "dumb", or while the process is in the background. When the
/// streams have ended it stays as a line; when one was closed before, as by an exception or a cancellation, or the
/// `Progress` ends before them, it is erased. What else the program prints to the terminal meanwhile gets in its way.
///
/// Streams may outlive the `Progress`, which then is not told of them any more. All on the thread of one loop.
class Progress {
 public:
  using Callback = std::function<void(const ProgressReport&)>;

  explicit Progress(ProgressOptions options = {});
  /// Tells `callback` as well, from within the stream's `next()` or from the loop. It must not throw, nor take from the
  /// stream.
  Progress(ProgressOptions options, Callback callback);
  Progress(Progress&&) = delete;
  ~Progress();

  /// The same stream, watched: whatever is taken out of it counts. Several can be watched, one after the other or at
  /// once; their totals add up.
  template <class T>
  Stream<T> watch(Stream<T> stream) {
    return Stream<T>(std::make_unique<detail::WatchedSource<T>>(std::move(stream).release(), state_));
  }

  /// As of now.
  ProgressReport report() const;

 private:
  class State;
  std::shared_ptr<detail::ProgressState> state_;
};

}  // namespace cofork
