#include <algorithm>
#include <cofork/runtime/channel.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <csignal>
#include <optional>
#include <ranges>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::MapOptions;
using cofork::ProcessPoolExecutor;
using cofork::Stream;
using cofork::Task;
using cofork::TimeoutError;

namespace {

Stream<int> count_from(int first, int* pulled, bool slow = false) {
  for (;; ++first) {
    if (slow) co_await cofork::sleep(200us);
    ++*pulled;
    co_yield first;
  }
}
Stream<int> three_then_throw() {
  for (int i = 0; i < 3; ++i) co_yield i;
  throw std::domain_error("the stream failed");
}
Stream<int> up_to(int end) {
  for (int i = 0; i < end; ++i) co_yield i;
}

// Counts its runs at `x`, and dies for one value.
int die_at_37(int x) {
  ++Shared::at(static_cast<std::size_t>(x));
  if (x == 37) ::raise(SIGKILL);
  return x;
}

struct Unwilling {
  int value = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    if (value % 10 == 3) throw std::length_error("item " + std::to_string(value));
    archive(value);
  }
};

}  // namespace

TEST_CASE("map takes a stream as its input") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const std::size_t chunksize : {0, 1, 4}) {
      const std::vector<int> squares = co_await pool.map(MapOptions{.chunksize = chunksize}, square, up_to(500));
      REQUIRE(squares.size() == 500);
      CHECK(squares[499] == 499 * 499);
    }
    const std::vector<int> none = co_await pool.map(square, up_to(0));
    CHECK(none.empty());
    // One map feeds another.
    auto first = pool.map(square, std::views::iota(0, 200));
    const std::vector<int> fourth = co_await pool.map(square, std::move(first));
    REQUIRE(fourth.size() == 200);
    CHECK(fourth[20] == 160'000);
  });
}

TEST_CASE("an infinite stream is pulled as there is room") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const bool slow : {false, true}) {
      int pulled = 0;
      {
        auto stream = pool.map({.buffersize = 8}, square, count_from(0, &pulled, slow));
        for (int i = 0; i < 100; ++i) {
          const std::optional<int> value = co_await stream.next();
          if (value != i * i) FAIL("a wrong value");
          // What it has ahead beside the buffer is a chunk at most.
          if (pulled > i + 1 + 8 + 2) FAIL("pulled " << pulled << " at " << i);
        }
      }
      const int at_end = pulled;
      co_await cofork::sleep(5ms);
      CHECK(pulled == at_end);
    }
  });
}

TEST_CASE("a stream that throws ends the map with its error") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto stream = pool.map(square, three_then_throw());
    int sum = 0;
    bool failed = false;
    try {
      while (std::optional<int> value = co_await stream.next()) sum += *value;
    } catch (const std::domain_error&) {
      failed = true;
    }
    CHECK(failed);
    CHECK(sum == 5);
    const std::optional<int> end = co_await stream.next();
    CHECK_FALSE(end);
  });
}

TEST_CASE("an item that cannot be encoded fails alone") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const std::size_t chunksize : {0, 1, 5, 100}) {
      auto stream = pool.map(
          {.chunksize = chunksize}, [](Unwilling u) { return u.value; },
          std::views::iota(0, 60) | std::views::transform([](int i) { return Unwilling{i}; }));
      for (int i = 0; i < 60; ++i) {
        std::string outcome;
        try {
          const std::optional<int> value = co_await stream.next();
          outcome = value ? std::to_string(*value) : "end";
        } catch (const std::length_error& error) {
          outcome = error.what();
        }
        if (outcome != (i % 10 == 3 ? "item " : "") + std::to_string(i)) FAIL(outcome << " at " << i);
      }
      const std::optional<int> end = co_await stream.next();
      CHECK_FALSE(end);
    }
    // All of an infinite input: the buffer bounds them, too.
    auto failing = pool.map(
        {.buffersize = 4}, [](Unwilling u) { return u.value; },
        std::views::iota(0) | std::views::transform([](int) { return Unwilling{3}; }));
    for (int i = 0; i < 20; ++i) {
      bool failed = false;
      try {
        co_await failing.next();
      } catch (const std::length_error&) {
        failed = true;
      }
      CHECK(failed);
    }
  });
}

TEST_CASE("a crash inside a chunk fails just that item, and every other runs once") {
  for (const std::size_t chunksize : {0, 1, 7, 50, 1000}) {
    Shared shared(128);
    cofork::run([&]() -> Task<> {
      ProcessPoolExecutor pool(2);
      auto stream = pool.map({.chunksize = chunksize}, die_at_37, std::views::iota(0, 100));
      for (int i = 0; i < 100; ++i) {
        std::optional<int> value;
        bool died = false;
        try {
          value = co_await stream.next();
        } catch (const cofork::WorkerDied&) {
          died = true;
        }
        if (died != (i == 37) || (!died && value != i)) FAIL("wrong at " << i);
      }
    });
    int wrong = 0;
    for (std::size_t i = 0; i < 100; ++i) wrong += shared[i] != 1;
    CHECK(wrong == 0);
  }
}

TEST_CASE("a map's items are retried after their worker died") {
  Shared shared(128);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto die_first = [](int x) {
      if (++Shared::at(static_cast<std::size_t>(x)) == 1 && x % 20 == 5) ::_exit(0);
      return x;
    };
    const std::vector<int> all = co_await pool.map({.chunksize = 7, .retries = 1}, die_first, std::views::iota(0, 100));
    CHECK(all.size() == 100);
    CHECK(std::is_sorted(all.begin(), all.end()));
  });
  for (std::size_t i = 0; i < 100; ++i) CHECK(shared[i] == (i % 20 == 5 ? 2 : 1));
}

// So long that an item that is not meant to be late is not, even if the machine stands still for a while.
constexpr std::chrono::seconds late_after(support::slowdown == 1 ? 4 : 12);

TEST_CASE("item_timeout fails the late item alone, also inside a chunk") {
  Shared shared;
  const auto check = [](std::size_t chunksize) -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 5ms});
    const auto hang_at_seven = [](int x) { return x == 7 ? never_end(0) : x; };
    auto stream =
        pool.map({.chunksize = chunksize, .item_timeout = late_after}, hang_at_seven, std::views::iota(0, 30));
    for (int i = 0; i < 30; ++i) {
      std::optional<int> value;
      bool late = false;
      try {
        value = co_await stream.next();
      } catch (const TimeoutError&) {
        late = true;
      }
      if (late != (i == 7) || (!late && value != i)) FAIL("wrong at " << i);
    }
    const std::optional<int> end = co_await stream.next();
    CHECK_FALSE(end);
  };
  cofork::run([&]() -> Task<> {
    std::vector<Task<>> checks;
    for (const std::size_t chunksize : {0, 1, 5, 30}) checks.push_back(check(chunksize));
    co_await cofork::gather(std::move(checks));
  });
}

TEST_CASE("a map whose time is over throws once and is at its end") {
  Shared shared;
  const auto check = [](bool look_late, bool ordered) -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 5ms});
    const auto hang_at_two = [](int x) { return x == 2 ? never_end(0) : x; };
    co_await pool.submit(square, 1);
    // Until there was time enough for the two that end.
    bool in_time = false;
    for (std::chrono::milliseconds timeout = 200ms; !in_time; timeout *= 2) {
      const auto deadline = std::chrono::steady_clock::now() + timeout;
      auto stream = pool.map({.timeout = timeout, .ordered = ordered}, hang_at_two, std::views::iota(0, 3));
      std::vector<int> values;
      bool timed_out = false;
      while (!timed_out) {
        try {
          const std::optional<int> value = co_await stream.next();
          if (!value) break;
          values.push_back(*value);
        } catch (const TimeoutError&) {
          timed_out = true;
        }
        if (values.size() == 2 && !timed_out) {
          in_time = std::chrono::steady_clock::now() < deadline;
          if (look_late) co_await cofork::sleep_until(deadline + 100ms);
        }
      }
      CHECK(timed_out);
      CHECK(std::chrono::steady_clock::now() >= deadline);
      if (in_time) CHECK((values == std::vector<int>{0, 1} || (!ordered && values == std::vector<int>{1, 0})));
      const std::optional<int> end = co_await stream.next();
      CHECK_FALSE(end);
    }
    const int next = co_await pool.submit(square, 3);
    CHECK(next == 9);
  };
  cofork::run([&]() -> Task<> {
    std::vector<Task<>> checks;
    for (const bool look_late : {false, true})
      for (const bool ordered : {true, false}) checks.push_back(check(look_late, ordered));
    co_await cofork::gather(std::move(checks));
  });
}

TEST_CASE("a stream of void counts its items") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto count = [](int) { ++Shared::at(0); };
    auto stream = pool.map(count, std::views::iota(0, 20));
    int items = 0;
    for (bool more = co_await stream.next(); more; more = co_await stream.next()) ++items;
    CHECK(items == 20);
    co_await pool.map(count, std::views::iota(0, 20));
    CHECK(shared[0] == 40);
  });
}

TEST_CASE("cancelling the consumer of a map loses nothing of it") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto slowly = [](int x) {
      pause_for(2ms);
      return x;
    };
    auto stream = pool.map(slowly, std::views::iota(0, 40));
    int expected = 0;
    while (expected < 40) {
      try {
        const std::optional<int> value = co_await cofork::wait_for(stream.next(), 1ms);
        if (value != expected) FAIL("lost one at " << expected);
        ++expected;
      } catch (const TimeoutError&) {
      }
    }
    CHECK(expected == 40);
  });
}

TEST_CASE("a pool that ends while a map waits for its input tells the consumer") {
  cofork::run([]() -> Task<> {
    for (const int way : {0, 1, 2}) {
      std::optional<ProcessPoolExecutor> pool(1u);
      cofork::Channel<int> never(1);
      auto endless = [](cofork::Channel<int>& channel) -> Stream<int> {
        while (std::optional<int> value = co_await channel.recv()) co_yield *value;
      };
      auto stream = pool->map(square, endless(never));
      auto consumer = [](Stream<int>& s) -> Task<std::string> {
        try {
          co_await s.next();
        } catch (const cofork::CancelledError&) {
          co_return "cancelled";
        } catch (const cofork::InvalidStateError&) {
          co_return "shut down";
        }
        co_return "a value";
      };
      auto waiting = cofork::spawn(consumer(stream));
      co_await cofork::sleep(5ms);
      if (way == 0) pool.reset();
      if (way == 1) pool->kill_workers();
      if (way == 2) co_await pool->shutdown();
      const std::string outcome = co_await cofork::wait_for(std::move(waiting), 30s);
      CHECK(outcome == (way == 2 ? "shut down" : "cancelled"));
    }
  });
}
