// The turns that contestants take.
#pragma once

#include <cstddef>

#include "micro.hpp"

namespace bench {

// A batch is so many turns of each coroutine.
inline constexpr std::size_t turns_of_each = 10'000;

/// Whose turn it was, and whether they alternated.
struct Turns {
  void take(std::size_t self) {
    repeated += self == last;
    last = self;
    ++taken;
  }
  void check_taken(std::size_t contestants) const {
    check(taken > 1000, "turns");
    check(contestants == 1 ? repeated + 1 == taken : repeated < 3, "turns of each");
  }

  bool over = false;
  std::size_t last = static_cast<std::size_t>(-1), repeated = 0, taken = 0;
};

}  // namespace bench
