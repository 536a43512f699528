#include <cofork/runtime/sliding_vector.hpp>
#include <deque>
#include <memory>
#include <random>

#include "support/catch.hpp"

using cofork::detail::SlidingVector;

TEST_CASE("a sliding vector holds what a deque would") {
  SlidingVector<std::unique_ptr<int>> members;
  std::deque<int> expected;
  std::mt19937 random(5);
  for (int i = 0; i < 100'000; ++i) {
    // It grows and shrinks by turns, and is empty now and then.
    if (random() % 10 < (i / 5000 % 2 == 0 ? 6u : 4u)) {
      members.emplace_back(std::make_unique<int>(i));
      expected.push_back(i);
    } else if (!expected.empty()) {
      members.pop_front();
      expected.pop_front();
    }
    REQUIRE(members.size() == expected.size());
    REQUIRE(members.empty() == expected.empty());
    if (expected.empty()) continue;
    const std::size_t any = random() % expected.size();
    if (*members.front() != expected.front() || *members[any] != expected[any] ||
        **members.rbegin() != expected.back() || members.end() - members.begin() != std::ssize(expected))
      FAIL("wrong after " << i);
  }
}

TEST_CASE("what leaves a sliding vector is destroyed at once") {
  const auto counted = std::make_shared<int>(1);
  SlidingVector<std::shared_ptr<int>> members;
  for (int i = 0; i < 10; ++i) members.emplace_back(counted);
  for (long left = 10; left > 0; --left) {
    CHECK(counted.use_count() == left + 1);
    members.pop_front();
  }
  CHECK(counted.use_count() == 1);
}
