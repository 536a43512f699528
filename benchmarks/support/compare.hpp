// Contestants, measured in interleaved rounds, and the table of what they did.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values);

/// What the project promises itself.
struct Aim {
  enum Kind {
    times_limit,  ///< at most so many times worse than the limit
    times_peer,   ///< at least so many times better than the best peer
    value,        ///< at least, or at most, this value
  };
  Kind kind;
  double bound;
};

struct Contestant {
  enum Role { limit, cofork, python, peer, other };
  std::string name;
  Role role;
  /// One run; nothing if it cannot be had on this machine, or cannot do this.
  std::function<std::optional<double>()> run;
  std::vector<Aim> aims{};
  /// Why `run` gives nothing.
  std::string without = "not installed";
};

struct Comparison {
  std::string title;
  std::string unit;
  bool higher_is_better = false;
  std::vector<Contestant> contestants;
  /// Before the contestants of every round.
  std::function<void()> begin_round = [] {};
  /// The medians in another unit, too.
  struct Conversion {
    std::string unit;
    double factor;
  };
  std::optional<Conversion> conversion{};
};

/// Runs every contestant once in each round and prints medians, ratios, and whether the aims were met. A ratio is the
/// median of the rounds' ratios: what disturbs a whole round disturbs both of its terms. Peers
/// are those of the role `peer`, and Python; the best is the one with the best median.
void compare(const Comparison& comparison, int rounds);

}  // namespace bench
