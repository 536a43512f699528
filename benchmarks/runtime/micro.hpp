// Operations that take nanoseconds: what is measured, and by whom.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "batches.hpp"
#include "compare.hpp"
#include "program.hpp"

namespace bench {

struct Work {
  double seconds;         ///< how long to measure, at least
  std::size_t count = 0;  ///< of what the measurement says
  int cpu = -1;           ///< of the loop; -1: anywhere
  int other_cpu = -1;     ///< of the other thread
};

// A batch is so many awaits of a leaf, or one chain of so many coroutines.
inline constexpr int leaves = 10'000;
inline constexpr int depth = 1000;

/// Nanoseconds for one operation.
using Measure = double (*)(const Work&);

/// What one of the other libraries is measured by; null where it is not installed, or has nothing like it.
struct Measures {
  Measure leaf = nullptr, chain = nullptr, waiting_chain = nullptr, yields = nullptr;
  Measure spawn_all = nullptr, spawn_each = nullptr, gather = nullptr;
  Measure change_timer = nullptr, expire_timers = nullptr, sleep_zero = nullptr;
  Measure round_trip = nullptr, throughput = nullptr;
};
Measures measures_of_asio();
Measures measures_of_cppcoro();
Measures measures_of_libcoro();
Measures measures_of_uvco();

inline void check(bool right, const char* what) {
  if (!right) throw std::runtime_error(std::string("wrong result: ") + what);
}

/// The median over batches of `each` operations, until `work.seconds` are over; after one batch that does not count.
template <class F>
double nanoseconds_each(const Work& work, std::size_t each, F batch) {
  batch();
  Batches batches(work.seconds);
  while (batches.next()) batch();
  return 1e3 * batches.microseconds_each(each);
}

/// `measure` in a process of its own.
Contestant contestant(std::string name, Contestant::Role role, Measure measure, const Work& work,
                      std::vector<Aim> aims = {});

void compare_micro(std::string title, std::vector<Contestant> contestants, const Settings& settings);

inline double seconds_of(const Settings& settings) { return settings.quick ? 0.05 : 0.3; }

}  // namespace bench
