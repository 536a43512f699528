// How long the timers of a measurement run.
#pragma once

#include <chrono>
#include <cstddef>
#include <random>
#include <vector>

namespace bench {

/// Between one hour and two, so that none expires: the standing ones' and those of the one that is started and stopped
/// come from the same range.
inline std::vector<std::chrono::milliseconds> long_delays(std::size_t count) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> milliseconds(3'600'000, 7'200'000);
  std::vector<std::chrono::milliseconds> delays;
  for (std::size_t i = 0; i != count; ++i) delays.emplace_back(milliseconds(random));
  return delays;
}

// A batch is so many timers, one after the other.
inline constexpr std::size_t timers_of_batch = 4096;
// So many timers expire in one turn.
inline constexpr std::size_t due_timers = 1000;
// So many sleeps of length 0, one after the other, are a batch.
inline constexpr std::size_t sleeps_of_batch = 1000;

}  // namespace bench
