#include <algorithm>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using detail::Clock;
using detail::Timer;

namespace {

// Tells `order` its name when it expires.
struct Named : Timer {
  Named(std::vector<int>& target, int number) : order(target), name(number) {}
  void start_at(Clock::time_point deadline) {
    start(deadline, [](Timer& timer) noexcept {
      auto& self = static_cast<Named&>(timer);
      self.order.push_back(self.name);
    });
  }
  std::vector<int>& order;
  int name;
};

const Clock::time_point origin{1h};

}  // namespace

TEST_CASE("timers expire when their deadline has come, the earliest first") {
  Loop loop;
  std::vector<int> order;
  std::deque<Named> timers;
  for (const int name : {5, 3, 9, 1, 7}) timers.emplace_back(order, name).start_at(origin + name * 1s);
  CHECK(loop.timers().earliest() == origin + 1s);
  loop.timers().expire(origin + 1s - 1ns);
  CHECK(order.empty());
  loop.timers().expire(origin + 1s);
  CHECK(order == std::vector{1});
  loop.timers().expire(origin + 6s);
  CHECK(order == std::vector{1, 3, 5});
  CHECK_FALSE(loop.timers().empty());
  loop.timers().expire(origin + 1min);
  CHECK(order == std::vector{1, 3, 5, 7, 9});
  CHECK(loop.timers().empty());
}

TEST_CASE("timers of the same instant expire in the order in which they were started") {
  Loop loop;
  std::vector<int> order;
  std::deque<Named> timers;
  for (int name = 0; name < 100; ++name) timers.emplace_back(order, name).start_at(origin);
  // Started again: it goes to the end.
  timers[10].start_at(origin);
  loop.timers().expire(origin);
  CHECK(order.size() == 100);
  CHECK(order.back() == 10);
  order.pop_back();
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("a timer that is started again moves") {
  Loop loop;
  std::vector<int> order;
  Named first(order, 1), second(order, 2);
  first.start_at(origin + 1s);
  second.start_at(origin + 2s);
  first.start_at(origin + 3s);
  loop.timers().expire(origin + 2s);
  CHECK(order == std::vector{2});
  CHECK(first.active());
  CHECK_FALSE(second.active());
  first.start_at(origin + 2s);
  second.start_at(origin + 1s);
  loop.timers().expire(origin + 2s);
  CHECK(order == std::vector{2, 2, 1});
}

TEST_CASE("a timer that is stopped or destroyed does not expire") {
  Loop loop;
  std::vector<int> order;
  Named stopped(order, 1);
  std::optional<Named> destroyed(std::in_place, order, 2);
  Named left(order, 3);
  stopped.start_at(origin);
  destroyed->start_at(origin);
  left.start_at(origin);
  stopped.stop();
  stopped.stop();
  destroyed.reset();
  CHECK_FALSE(stopped.active());
  loop.timers().expire(origin);
  CHECK(order == std::vector{3});
}

TEST_CASE("a timer's callback can stop, destroy and start others, and itself") {
  Loop loop;
  struct Acting : Timer {
    void start_at(Clock::time_point deadline) {
      start(deadline, [](Timer& timer) noexcept {
        auto& self = static_cast<Acting&>(timer);
        ++self.expired;
        if (self.act) self.act(self);
      });
    }
    void (*act)(Acting&) = nullptr;
    Acting* stops = nullptr;
    std::unique_ptr<Acting>* destroys = nullptr;
    int expired = 0;
  };
  Acting first, second;
  auto third = std::make_unique<Acting>();
  first.stops = &second;
  first.destroys = &third;
  first.act = [](Acting& self) {
    self.stops->stop();
    self.destroys->reset();
    self.start_at(origin - 1s);
  };
  first.start_at(origin);
  second.start_at(origin);
  third->start_at(origin);
  loop.timers().expire(origin);
  // Started anew by its own callback, it waits for the next turn, however early its deadline.
  CHECK(first.expired == 1);
  CHECK(second.expired == 0);
  CHECK_FALSE(third);
  CHECK(first.active());
}

TEST_CASE("one hundred thousand timers expire in order", "[limit:120]") {
  Loop loop;
  std::mt19937 random(1);
  std::uniform_int_distribution<int> any(0, 1'000'000);
  std::vector<int> order;
  std::deque<Named> timers;
  std::vector<int> expected;
  for (int count = 0; count < 100'000; ++count) {
    const int name = any(random);
    timers.emplace_back(order, name).start_at(origin + name * 1us);
  }
  // A third is stopped, a third is moved.
  for (std::size_t index = 0; index < timers.size(); ++index) {
    Named& timer = timers[index];
    if (index % 3 == 0) timer.stop();
    if (index % 3 == 1) {
      timer.name = any(random);
      timer.start_at(origin + timer.name * 1us);
    }
    if (index % 3 != 0) expected.push_back(timer.name);
  }
  for (int step = 0; step <= 100; ++step) {
    const auto now = origin + step * 10ms;
    loop.timers().expire(now);
    if (!loop.timers().empty()) CHECK(loop.timers().earliest() > now);
  }
  std::sort(expected.begin(), expected.end());
  CHECK(order == expected);
  CHECK(loop.timers().empty());
}

TEST_CASE("a timer outlives its loop") {
  std::vector<int> order;
  Named timer(order, 1);
  {
    Loop loop;
    timer.start_at(origin);
  }
  CHECK_FALSE(timer.active());
  timer.stop();
  Loop loop;
  timer.start_at(origin);
  loop.timers().expire(origin);
  CHECK(order == std::vector{1});
}

TEST_CASE("a deadline that is too far away is the end of time") {
  CHECK(detail::deadline_after(std::chrono::nanoseconds::max()) == Clock::time_point::max());
  CHECK(detail::deadline_after(std::chrono::nanoseconds::min()) <= Clock::now());
  CHECK(detail::deadline_after(1h) > Clock::now() + 59min);
}
