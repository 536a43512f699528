#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <random>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using support::turns;

TEST_CASE("sleep is never shorter than asked for") {
  run([]() -> Task<> {
    std::mt19937 random(1);
    std::uniform_int_distribution<int> microseconds(1, 5000);
    for (int round = 0; round < 50; ++round) {
      const auto duration = std::chrono::microseconds(microseconds(random));
      const auto begin = Clock::now();
      co_await sleep(duration);
      const auto slept = Clock::now() - begin;
      CHECK(slept >= duration);
      CHECK(slept < duration + 30s);
    }
  });
}

TEST_CASE("sleep counts from the await") {
  run([]() -> Task<> {
    auto nap = sleep(20ms);
    Task<> stored = sleep(20ms);
    co_await sleep_until(Clock::now() + 25ms);
    const auto begin = Clock::now();
    co_await nap;
    CHECK(Clock::now() - begin >= 20ms);
    co_await std::move(stored);
    CHECK(Clock::now() - begin >= 40ms);
  });
}

TEST_CASE("sleep_until never returns before its deadline") {
  run([]() -> Task<> {
    const auto deadline = Clock::now() + 3500us;
    co_await sleep_until(deadline);
    CHECK(Clock::now() >= deadline);
  });
}

TEST_CASE("sleepers wake in the order of their deadlines") {
  std::vector<int> order;
  const auto body = [&](Clock::time_point deadline, int name) -> Task<> {
    co_await sleep_until(deadline);
    order.push_back(name);
  };
  // All of them must sleep before the first deadline: who comes too late does not sleep.
  bool in_time = false;
  for (auto lead = 20ms; !in_time; lead *= 2) {
    order.clear();
    run([&]() -> Task<> {
      const auto begin = Clock::now() + lead;
      std::vector<Future<void>> futures;
      for (const int name : {9, 2, 6, 4, 8, 1}) futures.push_back(spawn(body(begin + name * 1ms, name)));
      co_await turns(1);
      in_time = Clock::now() < begin;
      for (Future<void>& future : futures) co_await future;
    });
  }
  CHECK(order == std::vector{1, 2, 4, 6, 8, 9});
}

TEST_CASE("sleeping for no time lets the others run once") {
  const auto duration = GENERATE(as<std::chrono::nanoseconds>(), 0ns, -1ns, -1h, std::chrono::nanoseconds::min());
  run([&]() -> Task<> {
    int others = 0;
    bool ended = false;
    const auto other = [&]() -> Task<> {
      while (!ended) {
        ++others;
        co_await yield_now();
      }
    };
    Future<void> future = spawn(other());
    co_await turns(1);
    for (int round = 1; round <= 5; ++round) {
      const int before = others;
      co_await sleep(duration);
      CHECK(others == before + 1);
    }
    ended = true;
    co_await future;
  });
}

TEST_CASE("sleeping until a time that has passed lets the others run once") {
  run([]() -> Task<> {
    bool other_ran = false;
    const auto other = [&]() -> Task<> {
      other_ran = true;
      co_return;
    };
    Future<void> future = spawn(other());
    co_await sleep_until(Clock::time_point::min());
    CHECK(other_ran);
    co_await sleep_until(Clock::now() - 1s);
    co_await future;
  });
}

TEST_CASE("the longest sleep can be begun, and cancelled") {
  const auto body = []() -> Task<> { co_await sleep(std::chrono::nanoseconds::max()); };
  const auto until = []() -> Task<> { co_await sleep_until(Clock::time_point::max()); };
  run([&]() -> Task<> {
    Future<void> first = spawn(body());
    Future<void> second = spawn(until());
    co_await sleep(2ms);
    CHECK_FALSE(first.done());
    CHECK_FALSE(second.done());
    first.cancel();
    second.cancel();
    co_await turns(1);
    CHECK(first.cancelled());
    CHECK(second.cancelled());
  });
}

TEST_CASE("cancelling a sleep ends it at once") {
  const auto body = []() -> Task<> { co_await sleep(1h); };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await sleep(1ms);
    future.cancel();
    co_await turns(1);
    CHECK(future.cancelled());
  });
}

TEST_CASE("yield_now lets every other ready coroutine run once") {
  std::string order;
  const auto body = [&](char name) -> Task<> {
    for (int round = 0; round < 3; ++round) {
      order += name;
      co_await yield_now();
    }
  };
  run([&]() -> Task<> {
    Future<void> first = spawn(body('a'));
    Future<void> second = spawn(body('b'));
    for (int round = 0; round < 4; ++round) {
      order += 'm';
      co_await yield_now();
    }
    co_await first;
    co_await second;
  });
  CHECK(order == "mabmabmabm");
}

TEST_CASE("yield_now and sleep throw in a cancelled coroutine, without letting others run") {
  std::string order;
  const auto body = [&]() -> Task<> {
    co_await support::throws<CancelledError>(sleep(1h));
    for (int round = 0; round < 2; ++round) {
      const bool yield_throws = co_await support::throws<CancelledError>(yield_now());
      const bool sleep_throws = co_await support::throws<CancelledError>(sleep(0s));
      const bool until_throws = co_await support::throws<CancelledError>(sleep_until(Clock::now()));
      order += yield_throws && sleep_throws && until_throws ? 't' : 'f';
    }
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await turns(1);
    future.cancel();
    co_await turns(1);
    order += 'm';
    co_await future;
  });
  CHECK(order == "ttm");
}

TEST_CASE("a coroutine that is cancelled while it yields throws") {
  bool went_on = false;
  const auto body = [&]() -> Task<> {
    co_await yield_now();
    went_on = true;
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await turns(1);
    future.cancel();
    co_await turns(1);
    CHECK(future.cancelled());
    CHECK_FALSE(went_on);
  });
}

TEST_CASE("a coroutine that always yields does not keep a sleeper from waking") {
  run([]() -> Task<> {
    bool ended = false;
    const auto busy = [&]() -> Task<> {
      while (!ended) co_await yield_now();
    };
    const auto busy_sleeping = [&]() -> Task<> {
      while (!ended) co_await sleep(0s);
    };
    Future<void> first = spawn(busy());
    Future<void> second = spawn(busy_sleeping());
    co_await sleep(5ms);
    ended = true;
    co_await first;
    co_await second;
  });
}

TEST_CASE("one hundred thousand sleepers wake", "[limit:120]") {
  int woken = 0;
  const auto body = [&](int number) -> Task<> {
    co_await sleep(std::chrono::microseconds(number % 5000));
    ++woken;
  };
  run([&]() -> Task<> {
    std::vector<Future<void>> futures;
    for (int number = 0; number < 100'000; ++number) futures.push_back(spawn(body(number)));
    for (Future<void>& future : futures) co_await future;
  });
  CHECK(woken == 100'000);
}

TEST_CASE("sleeping and yielding convert to tasks") {
  run([]() -> Task<> {
    std::vector<Task<>> tasks;
    tasks.push_back(sleep(1ms));
    tasks.push_back(sleep_until(Clock::now()));
    tasks.push_back(yield_now());
    for (Task<>& task : tasks) co_await std::move(task);
    Future<void> future = spawn<void>(sleep(1ms));
    co_await future;
  });
}
