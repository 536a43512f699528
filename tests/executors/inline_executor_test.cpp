// What is special to calls in the caller's own thread.
#include <cofork/executors/inline_executor.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <optional>
#include <ranges>
#include <thread>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::InlineExecutor;
using cofork::Stream;
using cofork::Task;

TEST_CASE("an inline executor calls at once, where it is told to, and needs no loop") {
  InlineExecutor here;
  int calls = 0;
  Future<std::thread::id> id = here.submit([&] {
    ++calls;
    return std::this_thread::get_id();
  });
  CHECK(calls == 1);
  CHECK(id.done());
  CHECK(id.result() == std::this_thread::get_id());
  Future<int> failed = here.submit([&]() -> int { throw std::domain_error("wrong"); });
  CHECK(error_of<std::domain_error>(failed) == "wrong");
  Future<int> given = here.submit([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(4));
  CHECK(given.result() == 4);
  CHECK(here.stats().submitted == 3);
  CHECK(here.stats().completed == 2);
  CHECK(here.stats().failed == 1);
  CHECK(here.max_workers() == 1);
}

TEST_CASE("an inline executor's map calls an item when it is asked for") {
  cofork::run([]() -> Task<> {
    InlineExecutor here;
    int calls = 0;
    auto stream = here.map(
        [&](int x) {
          ++calls;
          return x;
        },
        std::views::iota(0));
    CHECK(calls == 0);
    for (int i = 0; i < 5; ++i) {
      const auto value = co_await stream.next();
      CHECK(*value == i);
      CHECK(calls == i + 1);
    }
    stream.close();
    const auto end = co_await stream.next();
    CHECK_FALSE(end.has_value());
    CHECK(calls == 5);
  });
}

TEST_CASE("an inline executor spawns coroutines and passes streams through") {
  cofork::run([]() -> Task<> {
    InlineExecutor here;
    bool ended = false;
    const auto slow = [&](const std::string& text) -> Task<std::size_t> {
      co_await cofork::sleep(1ms);
      ended = true;
      co_return text.size();
    };
    Future<std::size_t> later = here.submit(slow, std::string(100, 'a'));
    CHECK_FALSE(later.done());
    CHECK(here.stats().running == 1);
    const auto yield_twice = [&](const std::string& text) -> Stream<std::string> {
      co_yield text;
      co_yield text + "!";
    };
    auto values = here.submit(yield_twice, std::string(100, 'b'));
    const std::vector<std::string> both = co_await std::move(values);
    REQUIRE(both.size() == 2);
    CHECK(both[1] == std::string(100, 'b') + "!");
    co_await here.shutdown();
    CHECK(ended);
    CHECK(later.result() == 100);
    CHECK_THROWS_AS(here.submit(slow, std::string()), cofork::InvalidStateError);
  });
}

TEST_CASE("an inline executor's coroutine can be cancelled, begun or not") {
  cofork::run([]() -> Task<> {
    InlineExecutor here;
    int begun = 0;
    const auto forever = [&]() -> Task<> {
      ++begun;
      co_await cofork::sleep(1h);
    };
    Future<void> first = here.submit(forever);
    co_await cofork::sleep(1ms);
    Future<void> second = here.submit(forever);
    CHECK(first.cancel());
    CHECK(second.cancel());
    co_await here.shutdown();
    CHECK(first.cancelled());
    CHECK(second.cancelled());
    CHECK(begun == 1);
    CHECK(here.stats().cancelled == 2);
    CHECK(here.stats().running == 0);
  });
}

TEST_CASE("an inline executor tells when a function took too long") {
  cofork::run([]() -> Task<> {
    InlineExecutor here;
    Future<int> slow = here.submit({.timeout = 1ms, .name = "slow"}, [] {
      pause_for(5ms);
      return 1;
    });
    CHECK(error_of<cofork::TimeoutError>(slow) == "slow exceeded its timeout of 0.001 s");
    CHECK_THROWS_AS(here.submit({.memory_limit = 1}, square, 1), std::invalid_argument);
    CHECK_THROWS_AS(here.submit({.cpu_limit = 1s}, square, 1), std::invalid_argument);
    co_return;
  });
}

TEST_CASE("the timeout of an inline map counts from the call and concerns what is left") {
  cofork::run([]() -> cofork::Task<> {
    InlineExecutor here;
    const std::vector<int> items{1, 2};
    const auto twice = [](int x) { return 2 * x; };
    auto late = here.map({.timeout = std::chrono::nanoseconds(1)}, twice, items);
    co_await cofork::sleep(std::chrono::milliseconds(1));
    bool timed_out = false;
    try {
      co_await late.next();
    } catch (const cofork::TimeoutError&) {
      timed_out = true;
    }
    CHECK(timed_out);
    const std::optional<int> end = co_await late.next();
    CHECK(!end);
    const std::vector<int> none;
    auto nothing_left = here.map({.timeout = std::chrono::nanoseconds(1)}, twice, none);
    co_await cofork::sleep(std::chrono::milliseconds(1));
    const std::optional<int> nothing = co_await nothing_left.next();
    CHECK(!nothing);
  });
}
