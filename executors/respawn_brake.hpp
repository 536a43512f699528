// Keeps workers that die again and again from becoming a storm of forks.
#pragma once

#include <algorithm>
#include <chrono>

namespace cofork::detail {

/// Counts deaths that nobody asked for. With more than `most` in a second and no success among them it asks for a pause
/// before the next start, twice as long after each further death; until a success, or a second without a death.
class RespawnBrake {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr unsigned most = 100;
  static constexpr std::chrono::nanoseconds first_pause = std::chrono::milliseconds(1);
  static constexpr std::chrono::nanoseconds longest_pause = std::chrono::milliseconds(500);

  /// How long no worker may be started.
  std::chrono::nanoseconds died(Clock::time_point now) noexcept {
    constexpr std::chrono::seconds second{1};
    if (now - last_ > second) success();
    if (deaths_ == 0 || (pause_.count() == 0 && now - first_ > second)) {
      first_ = now;
      deaths_ = 0;
    }
    last_ = now;
    if (++deaths_ > most) pause_ = std::clamp(pause_ * 2, first_pause, longest_pause);
    return pause_;
  }
  /// A task has succeeded.
  void success() noexcept {
    deaths_ = 0;
    pause_ = {};
  }

 private:
  Clock::time_point first_, last_;
  unsigned deaths_ = 0;
  std::chrono::nanoseconds pause_{};
};

}  // namespace cofork::detail
