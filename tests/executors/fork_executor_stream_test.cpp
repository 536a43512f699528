#include "executors/fork_harness.hpp"

using namespace fork_test;
using cofork::ForkExecutor;
using cofork::Stream;
using cofork::Task;

TEST_CASE("ForkExecutor streams: values arrive in order, as they are produced") {
  cofork::run([]() -> Task<> {
    Shared shared;
    const std::vector<std::string> words{"a", "b", "c"};
    ForkExecutor executor(1);
    auto produce = [&](std::string suffix) -> Stream<std::string> {
      for (const std::string& word : words) {
        co_yield word + suffix;
        if (word == "b") pass_gate(0);
      }
    };
    Stream<std::string> stream = executor.submit(produce, std::string("!"));
    const auto first = co_await stream.next();
    const auto second = co_await stream.next();
    CHECK(*first == "a!");
    CHECK(*second == "b!");
    shared[0] = 1;
    const auto third = co_await stream.next();
    CHECK(*third == "c!");
    const auto end = co_await stream.next();
    CHECK_FALSE(end);
    const bool gone = co_await until([] { return children() == 0; });
    CHECK(gone);
  });
}

TEST_CASE("ForkExecutor streams: many values, small and large") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto count = []() -> Stream<int> {
      for (int i = 0; i < 20'000; ++i) co_yield i;
    };
    int expected = 0;
    auto numbers = executor.submit(count);
    while (auto value = co_await numbers.next())
      if (*value != expected++) FAIL(*value);
    CHECK(expected == 20'000);
    auto large = []() -> Stream<std::vector<int>> {
      for (int i = 0; i < 10; ++i) co_yield std::vector<int>(std::size_t{1} << 20, i);
    };
    auto vectors = executor.submit(large);
    expected = 0;
    while (auto value = co_await vectors.next()) CHECK(value->at(12345) == expected++);
    CHECK(expected == 10);
  });
}

TEST_CASE("ForkExecutor streams: a producer that is ahead waits") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    auto count = [&]() -> Stream<std::string> {
      for (int i = 0; i < 100'000; ++i) {
        ++shared[0];
        co_yield std::string(1000, 'x');
      }
    };
    auto stream = executor.submit(count);
    const auto first = co_await stream.next();
    CHECK(first->size() == 1000);
    int before = -1;
    const bool stands = co_await until([&] { return std::exchange(before, int(shared[0])) == shared[0]; });
    CHECK(stands);
    CHECK(shared[0] < 20'000);
    stream.close();
    const bool gone = co_await until([] { return children() == 0; });
    CHECK(gone);
  });
}

TEST_CASE("ForkExecutor streams: an error, and a death, come after the values before them") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    auto fails = []() -> Stream<int> {
      co_yield 1;
      throw std::domain_error("two");
    };
    auto failing = executor.submit(fails);
    const auto one = co_await failing.next();
    CHECK(*one == 1);
    const std::string what = co_await thrown_by_next<std::domain_error>(failing);
    CHECK(what == "two");
    const auto end = co_await failing.next();
    CHECK_FALSE(end);
    auto dies = []() -> Stream<int> {
      co_yield 1;
      ::abort();
    };
    auto dying = executor.submit({.name = "dying"}, dies);
    const bool gone = co_await until([] { return children() == 0; });
    CHECK(gone);
    const auto value = co_await dying.next();
    CHECK(*value == 1);
    const std::string death = co_await thrown_by_next<cofork::WorkerDied>(dying);
    CHECK(contains(death, "SIGABRT while it executed dying"));
  });
}

TEST_CASE("ForkExecutor streams: a timeout ends one") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto slow = []() -> Stream<int> {
      co_yield 1;
      pause_for(1h);
    };
    auto stream = executor.submit({.timeout = 1s}, slow);
    std::string what = co_await thrown_by_next<cofork::TimeoutError>(stream);
    // Unless the child was too late even for that.
    if (what == "a value") what = co_await thrown_by_next<cofork::TimeoutError>(stream);
    CHECK(contains(what, "timeout"));
  });
}

TEST_CASE("ForkExecutor streams: cancelling the consumer loses nothing, and dropping the stream ends the child") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    {
      auto late = []() -> Stream<int> {
        pass_gate(0);
        co_yield 5;
        pause_for(1h);
      };
      auto stream = executor.submit(late);
      const std::string what = co_await thrown_by<cofork::TimeoutError>(cofork::wait_for(stream.next(), 50ms));
      CHECK(what != "no error");
      shared[0] = 1;
      const auto value = co_await stream.next();
      CHECK(*value == 5);
    }
    const bool gone = co_await until([] { return children() == 0; });
    CHECK(gone);
    // One that waits for its turn, and one whose executor goes.
    Stream<int> left = [&] {
      ForkExecutor ending(1);
      auto forever = []() -> Stream<int> {
        pause_for(1h);
        co_yield 1;
      };
      auto first = ending.submit(forever);
      auto second = ending.submit(forever);
      second.close();
      return first;
    }();
    const std::string what = co_await thrown_by_next<cofork::CancelledError>(left);
    CHECK(what == "cancelled");
    CHECK(children() == 0);
  });
}
