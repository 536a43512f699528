// What holds for every executor: CPython's test_concurrent_futures (executor.py, test_shutdown.py), and submit, map and
// shutdown as this library has them.
#include "executors/executor_suite.hpp"

#include <algorithm>
#include <cofork/runtime/gather.hpp>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <ranges>
#include <tuple>

using namespace pool_test;
using namespace executor_test;
using cofork::Future;
using cofork::MapOptions;
using cofork::Stream;
using cofork::Task;

namespace {

static_assert(cofork::Executor<cofork::ProcessPoolExecutor>);
static_assert(cofork::Executor<cofork::ThreadPoolExecutor>);
static_assert(cofork::Executor<cofork::InlineExecutor>);
static_assert(!cofork::Executor<cofork::PoolOptions>);

Stream<int> count(int from, int to) {
  for (int i = from; i < to; ++i) co_yield i;
}

template <class T>
Task<std::vector<std::string>> outcomes(Stream<T> stream) {
  std::vector<std::string> all;
  for (;;) {
    try {
      const std::optional<T> value = co_await stream.next();
      if (!value) break;
      all.push_back(std::to_string(*value));
    } catch (const std::exception& error) {
      all.push_back(std::string("error ") + error.what());
    }
  }
  co_return all;
}

}  // namespace

TEMPLATE_TEST_CASE("an executor gives what the function gives", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const auto power = [](int base, int exponent) {
      int result = 1;
      for (int i = 0; i < exponent; ++i) result *= base;
      return result;
    };
    const int result = co_await executor.submit(power, 2, 8);
    CHECK(result == 256);
    const std::string text = co_await executor.submit([](std::string a, const std::string& b) { return a + b; },
                                                      std::string(100'000, 'a'), std::string("b"));
    CHECK(text == std::string(100'000, 'a') + "b");
    co_await executor.submit([] {});
    const auto parts = co_await executor.submit(
        [](std::vector<int> v) {
          return std::map<int, int>{{v[0], v[1]}};
        },
        std::vector<int>(2, 7));
    CHECK(parts.at(7) == 7);
    Future<int> named = executor.submit({.name = "square"}, square, 9);
    int& value = co_await named;
    CHECK(value == 81);
    CHECK(named.done());
    CHECK_FALSE(named.running());
    CHECK_FALSE(named.cancelled());
    CHECK_FALSE(named.cancel());
    CHECK_FALSE(named.kill());
    CHECK(named.exception() == nullptr);
    co_await executor.shutdown();
  });
}

TEMPLATE_TEST_CASE("an executor passes a function's exception on", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    Future<int> failed = executor.submit(fail_with, 3);
    CHECK_THROWS_AS(co_await failed, std::domain_error);
    CHECK(error_of<std::domain_error>(failed) == "failed with 3");
    CHECK(failed.exception() != nullptr);
    Future<int> timed_out = executor.submit([]() -> int { throw cofork::TimeoutError("its own"); });
    std::string error;
    try {
      co_await timed_out;
    } catch (const cofork::TimeoutError& own) {
      error = own.what();
    }
    CHECK(error == "its own");
    const int after = co_await executor.submit(square, 2);
    CHECK(after == 4);
  });
}

TEMPLATE_TEST_CASE("an executor runs a function that returns a task", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    std::vector<Future<int>> futures;
    for (int i = 0; i < 10; ++i) futures.push_back(executor.submit(square_later, i));
    const std::vector<int> squares = co_await cofork::gather(std::move(futures));
    CHECK(squares[9] == 81);
    Future<void> failed = executor.submit([]() -> Task<> {
      co_await cofork::yield_now();
      throw std::out_of_range("later");
    });
    CHECK_THROWS_AS(co_await failed, std::out_of_range);
    const std::vector<int> mapped = co_await executor.map(square_later, std::views::iota(0, 20));
    CHECK(mapped[19] == 361);
    CHECK(mapped.size() == 20);
  });
}

TEMPLATE_TEST_CASE("an executor's done callbacks run with the future", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    std::vector<int> seen;
    Future<int> future = executor.submit(square, 5);
    future.add_done_callback([&](Future<int>& done) { seen.push_back(done.result()); });
    future.add_done_callback([&](Future<int>&) { seen.push_back(-1); });
    co_await future;
    future.add_done_callback([&](Future<int>&) { seen.push_back(-2); });
    CHECK(seen == std::vector<int>{25, -1, -2});
  });
}

TEMPLATE_TEST_CASE("an executor's map gives results in the order of the input", "[executor][threads]",
                   COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    for (const std::size_t chunksize : {0, 1, 3, 1000}) {
      const std::vector<int> squares =
          co_await executor.map(MapOptions{.chunksize = chunksize}, square, std::views::iota(0, 500));
      REQUIRE(squares.size() == 500);
      bool right = true;
      for (int i = 0; i < 500; ++i) right &= squares[static_cast<std::size_t>(i)] == i * i;
      CHECK(right);
    }
    const std::list<int> bases{2, 3, 4};
    const std::vector<int> factors{10, 20, 30, 40};
    const std::vector<int> products = co_await executor.map([](int a, int b) { return a * b; }, bases, factors);
    CHECK(products == std::vector<int>{20, 60, 120});
    const std::vector<int> none = co_await executor.map(square, std::vector<int>());
    CHECK(none.empty());
    std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}};
    const std::vector<int> sums = co_await executor.starmap([](int a, int b) { return a + b; }, pairs);
    CHECK(sums == std::vector<int>{3, 7});
    const std::vector<int> streamed = co_await executor.map(square, count(0, 50));
    CHECK(streamed.size() == 50);
    CHECK(streamed[49] == 49 * 49);
    co_await executor.map([](int) {}, std::views::iota(0, 5));
  });
}

TEMPLATE_TEST_CASE("an executor's map without order gives every result", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    std::vector<int> squares = co_await executor.map({.ordered = false}, square, std::views::iota(0, 300));
    std::ranges::sort(squares);
    REQUIRE(squares.size() == 300);
    CHECK(squares[299] == 299 * 299);
    CHECK(squares[1] == 1);
  });
}

TEMPLATE_TEST_CASE("an executor's map throws an item's error in its place and goes on", "[executor][threads]",
                   COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const std::vector<std::string> all = co_await outcomes(executor.map(square_of_odd, std::views::iota(1, 6)));
    CHECK(all == std::vector<std::string>{"1", "error 2 is even", "9", "error 4 is even", "25"});
    bool thrown = false;
    try {
      co_await executor.map(square_of_odd, std::views::iota(1, 6));
    } catch (const std::domain_error&) {
      thrown = true;
    }
    CHECK(thrown);
  });
}

TEMPLATE_TEST_CASE("an executor's map throws its input's error in its place and ends", "[executor][threads]",
                   COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    auto broken = std::views::iota(0, 10) | std::views::transform([](int x) {
                    if (x == 3) throw std::range_error("no item 3");
                    return x;
                  });
    const std::vector<std::string> all = co_await outcomes(executor.map(square, broken));
    std::vector<std::string> expected{"0", "1", "4", "error no item 3"};
    // Whose children read the range themselves, each item on its own.
    if (std::is_same_v<TestType, cofork::ForkExecutor>)
      expected.insert(expected.end(), {"16", "25", "36", "49", "64", "81"});
    CHECK(all == expected);
    const auto failing = []() -> Stream<int> {
      co_yield 2;
      throw std::range_error("no more");
    };
    const std::vector<std::string> streamed = co_await outcomes(executor.map(square, failing()));
    CHECK(streamed == std::vector<std::string>{"4", "error no more"});
  });
}

TEMPLATE_TEST_CASE("an executor's map pulls no further than its buffer", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    int pulled = 0;
    auto endless = std::views::iota(0) | std::views::transform([&](int x) {
                     ++pulled;
                     return x;
                   });
    auto stream = executor.map({.buffersize = 4}, square, endless);
    for (int i = 0; i < 100; ++i) {
      const auto value = co_await stream.next();
      CHECK(*value == i * i);
      CHECK(pulled <= i + 1 + 4);
    }
    stream.close();
    const auto end = co_await stream.next();
    CHECK_FALSE(end.has_value());
  });
}

TEMPLATE_TEST_CASE("an executor's map ends at its timeout", "[executor][threads]", COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const OpenGates at_end{1};
    const auto slow = [](int x) {
      if (x == 1) pause_for(20ms);
      if (x == 1) pass_gate(1);
      return x;
    };
    if constexpr (!is_concurrent<TestType>) Shared::at(1) = 1;
    auto stream = executor.map({.timeout = 10ms}, slow, std::views::iota(0, 5));
    std::vector<std::string> seen;
    for (int tries = 0; tries < 6; ++tries) {
      try {
        const auto value = co_await stream.next();
        if (!value) break;
        seen.push_back(std::to_string(*value));
      } catch (const cofork::TimeoutError& error) {
        seen.push_back(error.what());
      }
    }
    REQUIRE_FALSE(seen.empty());
    CHECK(seen.back() == "the map exceeded its timeout of 0.01 s");
    CHECK(seen.size() <= 3);
  });
}

TEMPLATE_TEST_CASE("an executor's map that is done at its deadline gives its results and ends", "[executor][threads]",
                   cofork::ProcessPoolExecutor, cofork::ForkExecutor, cofork::ThreadPoolExecutor) {
  cofork::run([]() -> Task<> {
    const std::vector<int> items{1, 2, 3};
    bool in_time = false;
    for (std::chrono::nanoseconds timeout = 50ms; !in_time; timeout *= 2) {
      Two<TestType> executor;  // one that has nothing left of an earlier map
      const auto deadline = std::chrono::steady_clock::now() + timeout;
      auto stream = executor.map({.timeout = timeout}, square, items);
      while (executor.stats().completed < 3 && std::chrono::steady_clock::now() < deadline)
        co_await cofork::yield_now();
      in_time = std::chrono::steady_clock::now() < deadline;
      if (!in_time) continue;
      co_await cofork::sleep_until(deadline + 1ms);
      std::vector<int> values;
      while (std::optional<int> value = co_await stream.next()) values.push_back(*value);
      CHECK((values == std::vector<int>{1, 4, 9}));
    }
  });
}

TEMPLATE_TEST_CASE("an executor's map goes on after an item that took too long", "[executor][threads]",
                   COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    const auto slow = [](int x) {
      if (x == 1 && is_concurrent<TestType>) pass_gate(1);
      if (x == 1 && !is_concurrent<TestType>) pause_for(std::chrono::milliseconds(Shared::at(2)) + 10ms);
      return x;
    };
    // Until there was time enough for the others.
    bool in_time = false;
    for (std::chrono::milliseconds timeout = 100ms; !in_time; timeout *= 2) {
      Shared::at(1) = 0;
      Shared::at(2) = static_cast<int>(timeout.count());
      Two<TestType> executor;
      const OpenGates at_end{1};
      const auto begin = std::chrono::steady_clock::now();
      auto stream = executor.map({.chunksize = 1, .item_timeout = timeout}, slow, std::views::iota(0, 4));
      if constexpr (is_concurrent<TestType>)
        in_time = co_await holds_before(begin + timeout, [&] { return executor.stats().completed == 3; });
      const std::vector<std::string> all = co_await outcomes(std::move(stream));
      if constexpr (!is_concurrent<TestType>) in_time = std::chrono::steady_clock::now() - begin < 2 * timeout;
      REQUIRE(all.size() == 4);
      CHECK(all[1].find("exceeded its timeout of ") != std::string::npos);
      CHECK((all[0] == "0" || !in_time));
      CHECK((all[2] == "2" || !in_time));
      CHECK((all[3] == "3" || !in_time));
    }
  });
}

TEMPLATE_TEST_CASE("an executor refuses what makes no sense", "[executor]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    CHECK_THROWS_AS(executor.submit({.timeout = -1s}, square, 1), std::invalid_argument);
    CHECK_THROWS_AS(executor.map({.timeout = -1s}, square, std::vector<int>()), std::invalid_argument);
    CHECK_THROWS_AS(executor.map({.item_timeout = -1s}, square, std::vector<int>()), std::invalid_argument);
    CHECK(executor.max_workers() >= 1);
    co_return;
  });
}

TEMPLATE_TEST_CASE("an executor takes nothing after its shutdown", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    Future<int> before = executor.submit(square, 3);
    co_await executor.shutdown();
    CHECK(before.done());
    CHECK(before.result() == 9);
    CHECK_THROWS_AS(executor.submit(square, 3), cofork::InvalidStateError);
    CHECK_THROWS_AS(executor.map(square, std::vector<int>(1, 1)), cofork::InvalidStateError);
    co_await executor.shutdown();
    Two<TestType> unused;
    co_await unused.shutdown();
    CHECK_THROWS_AS(unused.submit(square, 3), cofork::InvalidStateError);
  });
}

TEMPLATE_TEST_CASE("an executor's shutdown waits for what was submitted", "[executor][threads]", COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    std::vector<Future<void>> futures;
    for (int i = 0; i < 20; ++i)
      futures.push_back(executor.submit([] {
        pause_for(1ms);
        ++Shared::at(0);
      }));
    co_await executor.shutdown();
    CHECK(Shared::at(0) == 20);
    bool all_done = true;
    for (auto& future : futures) all_done &= future.done();
    CHECK(all_done);
    const cofork::PoolStats stats = executor.stats();
    CHECK(stats.submitted == 20);
    CHECK(stats.completed == 20);
    CHECK(stats.pending == 0);
    CHECK(stats.running == 0);
  });
}

TEMPLATE_TEST_CASE("an executor's shutdown can cancel what is pending", "[executor][threads]", COFORK_EXECUTORS) {
  if constexpr (is_concurrent<TestType>) {
    Shared shared;
    cofork::run([]() -> Task<> {
      Two<TestType> executor;
      const OpenGates at_end{9};
      std::vector<Future<int>> futures;
      for (int i = 0; i < 6; ++i) futures.push_back(executor.submit(wait_at_gate, 0, 9));
      const bool begun = co_await until([] { return Shared::at(0) == 2; });
      REQUIRE(begun);
      Task<> end = executor.shutdown({.cancel_futures = true});
      int cancelled = 0;
      for (auto& future : futures) cancelled += future.cancelled();
      CHECK(cancelled == 4);
      CHECK(futures[0].running());
      Shared::at(9) = 1;
      co_await std::move(end);
      CHECK(futures[0].result() == 0);
      CHECK(futures[1].result() == 0);
      CHECK(executor.stats().cancelled == 4);
    });
  }
}

TEMPLATE_TEST_CASE("an executor's shutdown without waiting lets the work end", "[executor][threads]",
                   COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    std::vector<Future<int>> futures;
    for (int i = 0; i < 10; ++i) futures.push_back(executor.submit(square, i));
    Stream<int> mapped = executor.map(square, std::views::iota(0, 1000));
    co_await executor.shutdown({.wait = false});
    const std::vector<int> all = co_await cofork::gather(std::move(futures));
    CHECK(all[9] == 81);
    const std::vector<int> squares = co_await std::move(mapped);
    CHECK(squares.size() == 1000);
  });
}

TEMPLATE_TEST_CASE("an executor frees what a map held when the stream is dropped", "[executor][threads]",
                   COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    {
      auto stream = executor.map(
          {.buffersize = 8}, [](int) { ++Shared::at(0); }, std::views::iota(0));
      co_await stream.next();
    }
    co_await executor.shutdown();
    CHECK(Shared::at(0) <= 9);
    CHECK(executor.stats().pending == 0);
  });
}

TEMPLATE_TEST_CASE("an executor can be used by code that does not know its kind", "[executor][threads]",
                   COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    const auto total = [](cofork::Executor auto& executor, const std::vector<int>& numbers) -> Task<int> {
      auto squares = executor.map(square, numbers);
      int sum = 0;
      while (auto one = co_await squares.next()) sum += *one;
      co_return sum;
    };
    Two<TestType> executor;
    const std::vector<int> numbers{1, 2, 3};
    const int sum = co_await total(executor, numbers);
    CHECK(sum == 14);
  });
}
