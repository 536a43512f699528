// Round trips and other short operations, timed.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "compare.hpp"

namespace bench {

/// Times batches of trips, as one trip is too short for the clock, until the time is over.
class Batches {
 public:
  static constexpr int trips = 64;

  explicit Batches(double seconds) : seconds_(seconds), start_(Clock::now()), batch_(start_) {}

  /// Between batches: whether there is to be another.
  bool next() {
    const Clock::time_point now = Clock::now();
    if (begun_) microseconds_.push_back(std::chrono::duration<double, std::micro>(now - batch_).count());
    begun_ = true;
    batch_ = Clock::now();
    return std::chrono::duration<double>(now - start_).count() < seconds_;
  }
  /// The median, by how many trips a batch had.
  double microseconds_each(std::size_t each = trips) const { return median(microseconds_) / static_cast<double>(each); }

 private:
  double seconds_;
  Clock::time_point start_;
  Clock::time_point batch_;
  bool begun_ = false;
  std::vector<double> microseconds_;
};

}  // namespace bench
