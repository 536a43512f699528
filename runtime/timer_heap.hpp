// Deadlines of a loop: a 4-ary heap of nodes that know their own place in it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cofork::detail {

using Clock = std::chrono::steady_clock;

/// `now + duration`, or the end of time where that would overflow.
inline Clock::time_point deadline_after(std::chrono::nanoseconds duration) {
  const Clock::time_point now = Clock::now();
  return duration < Clock::time_point::max() - now ? now + duration : Clock::time_point::max();
}

class TimerHeap;

/// A deadline that calls `on_expiry` once, from the loop's turn, unless it was stopped or destroyed before.
class Timer {
 public:
  using OnExpiry = void (*)(Timer&) noexcept;

  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { stop(); }

  /// On the current loop. A timer that is started again moves.
  void start(Clock::time_point deadline, OnExpiry on_expiry);
  void stop() noexcept;
  bool active() const noexcept { return heap_ != nullptr; }

 private:
  friend class TimerHeap;
  TimerHeap* heap_ = nullptr;
  std::size_t index_ = 0;
  OnExpiry on_expiry_ = nullptr;
};

class TimerHeap {
 public:
  TimerHeap() = default;
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;
  ~TimerHeap();

  void push(Timer& timer, Clock::time_point deadline);
  void remove(Timer& timer) noexcept;

  bool empty() const noexcept { return entries_.empty(); }
  Clock::time_point earliest() const noexcept { return entries_.front().deadline; }

  /// Calls every timer whose deadline is not after `now`, earliest first; those of the same instant in starting order.
  void expire(Clock::time_point now);

 private:
  struct Entry {
    Clock::time_point deadline;
    std::uint64_t order;
    Timer* timer;
    bool before(const Entry& other) const noexcept {
      return deadline != other.deadline ? deadline < other.deadline : order < other.order;
    }
  };
  void place(std::size_t index, const Entry& entry) noexcept {
    entries_[index] = entry;
    entry.timer->index_ = index;
  }
  void sift_up(std::size_t index, Entry entry) noexcept;
  void sift_down(std::size_t index, Entry entry) noexcept;

  std::vector<Entry> entries_;
  std::uint64_t started_ = 0;
};

}  // namespace cofork::detail
