// Maps over threads, and streams that come from one.
#include <atomic>
#include <cofork/executors/thread_pool_executor.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <memory>
#include <optional>
#include <ranges>
#include <semaphore>
#include <thread>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::Stream;
using cofork::Task;
using cofork::ThreadPoolExecutor;

TEST_CASE("a map over threads shares its function and what that captured", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(3);
    std::atomic<int> calls = 0;
    std::vector<int> squares(100);
    co_await pool.map(
        [&](int i) {
          ++calls;
          squares[static_cast<std::size_t>(i)] = i * i;
        },
        std::views::iota(0, 100));
    CHECK(calls == 100);
    CHECK(squares[99] == 9801);
    std::vector<std::pair<std::string, int>> words{{"a", 2}, {"b", 3}};
    const auto repeated = co_await pool.starmap(
        [](const std::string& word, int n) {
          std::string all;
          while (n-- > 0) all += word;
          return all;
        },
        words);
    CHECK(repeated == std::vector<std::string>{"aa", "bbb"});
    CHECK(words[0].first == "a");
  });
}

TEST_CASE("a map over threads does not wait for the slow without order", "[threads]") {
  Shared shared;
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(2);
    auto stream = pool.map(
        {.ordered = false},
        [](int x) {
          if (x == 0) pass_gate(0);
          return x;
        },
        std::views::iota(0, 10));
    int sum = 0;
    for (int i = 0; i < 9; ++i) {
      const auto value = co_await stream.next();
      sum += *value;
    }
    CHECK(sum == 45);
    Shared::at(0) = 1;
    const auto last = co_await stream.next();
    CHECK(*last == 0);
    const auto end = co_await stream.next();
    CHECK_FALSE(end.has_value());
  });
}

TEST_CASE("a map over threads that is dropped leaves what is pending undone", "[threads]") {
  Shared shared;
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(1);
    {
      auto stream = pool.map({.buffersize = 10}, wait_at_gate,
                             std::views::iota(0, 1000) | std::views::transform([](int) { return 1; }),
                             std::views::iota(0) | std::views::transform([](int) { return 0; }));
      const bool begun = co_await until([] { return Shared::at(1) == 1; });
      CHECK(begun);
    }
    CHECK(pool.stats().pending == 0);
    Shared::at(0) = 1;
    co_await pool.shutdown();
    CHECK(Shared::at(1) == 1);
    CHECK(pool.stats().cancelled == 9);
  });
}

TEST_CASE("a map over threads whose pool is shut down does what its input still has", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(2);
    auto sized = pool.map(square, std::views::iota(0, 10'000));
    auto endless = pool.map({.buffersize = 5}, square, std::views::iota(0));
    co_await pool.shutdown();
    const std::vector<int> squares = co_await std::move(sized);
    CHECK(squares.size() == 10'000);
    for (int i = 0; i < 5; ++i) {
      const auto value = co_await endless.next();
      CHECK(*value == i * i);
    }
    CHECK_THROWS_AS(co_await endless.next(), cofork::InvalidStateError);
    const auto end = co_await endless.next();
    CHECK_FALSE(end.has_value());
  });
}

TEST_CASE("a function in a thread that yields gives a stream", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(2);
    std::atomic<int> made = 0;
    auto numbers = pool.submit(
        [&made](int from) -> Stream<int> {
          for (int i = from;; ++i) {
            ++made;
            co_yield i;
          }
        },
        5);
    for (int i = 5; i < 1000; ++i) {
      const auto value = co_await numbers.next();
      REQUIRE(*value == i);
      REQUIRE(made <= i - 5 + 1 + 66);
    }
    numbers.close();
    const auto end = co_await numbers.next();
    CHECK_FALSE(end.has_value());
    co_await pool.shutdown();
    CHECK(made <= 1100);
  });
}

TEST_CASE("the error of a stream from a thread comes after its values", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(1);
    auto stream = pool.submit([]() -> Stream<std::string> {
      co_yield "one";
      co_await cofork::sleep(1ms);
      co_yield "two";
      throw std::range_error("no third");
    });
    const auto one = co_await stream.next();
    const auto two = co_await stream.next();
    CHECK(*one == "one");
    CHECK(*two == "two");
    CHECK_THROWS_AS(co_await stream.next(), std::range_error);
    const auto end = co_await stream.next();
    CHECK_FALSE(end.has_value());
    int times = 0;
    auto ticks = pool.submit([]() -> Stream<void> {
      for (int i = 0; i < 3; ++i) co_yield {};
    });
    for (bool more = true; more;) {
      more = co_await ticks.next();
      times += more;
    }
    CHECK(times == 3);
  });
}

TEST_CASE("a stream from a thread goes on when a value came after somebody had given up waiting", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(1);
    std::counting_semaphore<2> wanted(0);
    std::atomic<bool> sent = false;
    const auto values = [&]() -> Stream<int> {
      wanted.acquire();
      co_yield 1;
      sent = true;
      wanted.acquire();
      co_yield 2;
    };
    auto stream = pool.submit(values);
    CHECK_THROWS_AS(co_await cofork::wait_for(stream.next(), 1ms), cofork::TimeoutError);
    wanted.release();
    while (!sent) std::this_thread::yield();
    const auto first = co_await stream.next();
    CHECK(first == 1);
    auto second = cofork::spawn(stream.next());
    co_await cofork::sleep(1ms);  // until what the first value left behind was heard
    wanted.release();
    const auto value = co_await std::move(second);
    CHECK(value == 2);
    const auto end = co_await stream.next();
    CHECK_FALSE(end.has_value());
  });
}

TEST_CASE("a stream from a thread that is dropped ends its coroutine", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(1);
    struct Flag {
      explicit Flag(std::atomic<int>& to_count) : count(to_count) {}
      Flag(const Flag&) = delete;
      ~Flag() { ++count; }
      std::atomic<int>& count;
    };
    std::atomic<int> begun = 0, ended = 0;
    const auto forever = [&]() -> Stream<int> {
      const Flag flag(ended);
      ++begun;
      co_yield 1;
      co_await cofork::sleep(1h);
    };
    {
      auto waits = pool.submit(forever);
      const auto value = co_await waits.next();
      CHECK(*value == 1);
    }
    const int after = co_await pool.submit(square, 2);
    CHECK(after == 4);
    CHECK(ended == 1);
    std::atomic<bool> dropped = false;
    Future<void> busy = pool.submit([&] {
      while (!dropped) pause_for(1ms);
    });
    { auto never_begun = pool.submit(forever); }
    dropped = true;
    co_await pool.shutdown();
    CHECK(begun == 1);
    CHECK_THROWS_AS(pool.submit(forever), cofork::InvalidStateError);
  });
}

TEST_CASE("a stream from a thread ends with its pool or at its timeout", "[threads]") {
  cofork::run([]() -> Task<> {
    const auto forever = []() -> Stream<int> {
      co_yield 1;
      co_await cofork::sleep(1h);
    };
    std::optional<ThreadPoolExecutor> pool(std::in_place, 1u);
    // Until there was time enough for the value.
    bool in_time = false;
    for (std::chrono::milliseconds timeout = 100ms; !in_time; timeout *= 2) {
      const auto deadline = std::chrono::steady_clock::now() + timeout;
      auto late = pool->submit({.timeout = timeout}, forever);
      try {
        const auto first = co_await late.next();
        in_time = true;
        CHECK(*first == 1);
        CHECK_THROWS_AS(co_await late.next(), cofork::TimeoutError);
      } catch (const cofork::TimeoutError&) {
        CHECK_FALSE(in_time);
      }
      CHECK(std::chrono::steady_clock::now() >= deadline);
    }
    auto stream = pool->submit(forever);
    const auto value = co_await stream.next();
    CHECK(*value == 1);
    pool.reset();
    CHECK_THROWS_AS(co_await stream.next(), cofork::CancelledError);
  });
}

TEST_CASE("nothing comes after the timeout of a stream from a thread, whatever the thread still does", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(1);
    std::binary_semaphore late(0);
    std::atomic<bool> went_on = false;
    struct AtEnd {
      explicit AtEnd(std::atomic<bool>& to_set) : flag(to_set) {}
      AtEnd(const AtEnd&) = delete;
      ~AtEnd() { flag = true; }
      std::atomic<bool>& flag;
    };
    const auto values = [&]() -> Stream<int> {
      const AtEnd at_end(went_on);
      late.acquire();
      co_yield 1;
    };
    auto stream = pool.submit({.timeout = 1ms}, values);
    CHECK_THROWS_AS(co_await stream.next(), cofork::TimeoutError);
    late.release();
    while (!went_on) std::this_thread::yield();
    const auto end = co_await stream.next();
    CHECK_FALSE(end.has_value());
  });
}
