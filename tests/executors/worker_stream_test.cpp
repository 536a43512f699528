// Functions that return a Stream, submitted to a pool: what they give.
#include <unistd.h>

#include <cofork/ipc/queue.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Stream;
using cofork::Task;
using cofork::TimeoutError;

namespace {

Stream<int> count_to(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}
Stream<int> count_forever(int counter) {
  for (int i = 0;; ++i) {
    Shared::at(static_cast<std::size_t>(counter)) = i + 1;
    co_yield i;
  }
}
Stream<int> slow_count(int n) {
  for (int i = 0; i < n; ++i) {
    co_await cofork::sleep(1ms);
    co_yield i;
  }
}

/// Resident memory of a process, in bytes.
std::size_t resident(pid_t pid) {
  std::size_t pages = 0;
  const std::string path = "/proc/" + std::to_string(pid) + "/statm";
  if (std::FILE* const file = std::fopen(path.c_str(), "re")) {
    if (std::fscanf(file, "%*u %zu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("a stream from a worker gives its values in order, and then its end") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    for (const int n : {0, 1, 7, 255, 256, 257, 10'000}) {
      auto stream = pool.submit(count_to, n);
      static_assert(std::is_same_v<decltype(stream), Stream<int>>);
      int expected = 0;
      while (auto value = co_await stream.next()) {
        if (*value != expected) FAIL("a value out of its order");
        ++expected;
      }
      CHECK(expected == n);
      const auto after = co_await stream.next();
      CHECK_FALSE(after);
    }
    const std::vector<int> all = co_await pool.submit(slow_count, 5);
    CHECK(all == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(pool.stats().completed == 8);
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("values of a worker's stream arrive before it ends") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(
        [](int gate) -> Stream<int> {
          for (int i = 0; i < 50; ++i) {
            while (Shared::at(static_cast<std::size_t>(gate)) < i) co_await cofork::sleep(100us);
            co_yield i;
          }
        },
        3);
    for (int i = 0; i < 50; ++i) {
      const auto value = co_await stream.next();
      if (value != i) FAIL("not the next value");
      ++Shared::at(3);
    }
    const auto end = co_await stream.next();
    CHECK_FALSE(end);
  });
}

TEST_CASE("a stream's values may be large, or nothing, or handles") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto large = pool.submit(
        [](std::size_t size) -> Stream<std::string> {
          for (std::size_t i = 0; i < 5; ++i) co_yield std::string(size + i, static_cast<char>('a' + i));
        },
        std::size_t{3'000'000} * (support::slowdown > 1 ? 1 : 8));
    char letter = 'a';
    std::size_t size = 3'000'000 * (support::slowdown > 1 ? 1 : 8);
    while (auto text = co_await large.next()) {
      CHECK(text->size() == size++);
      CHECK(text->find_first_not_of(letter++) == std::string::npos);
    }
    CHECK(letter == 'f');

    auto nothing = pool.submit([]() -> Stream<void> {
      for (int i = 0; i < 3; ++i) co_yield {};
    });
    int times = 0;
    for (bool more = co_await nothing.next(); more; more = co_await nothing.next()) ++times;
    CHECK(times == 3);

    auto queues = pool.submit([]() -> Stream<cofork::ipc::Queue<int>> {
      for (int i = 0; i < 20; ++i) {
        cofork::ipc::Queue<int> queue;
        co_await queue.put(i);
        co_yield queue;
      }
    });
    int expected = 0;
    while (auto queue = co_await queues.next()) {
      const int number = co_await queue->get();
      CHECK(number == expected++);
    }
    CHECK(expected == 20);
  });
}

TEST_CASE("a producer that is much faster than its consumer stays a bounded number of values ahead") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(count_forever, 1);
    const auto first = co_await stream.next();
    CHECK(first == 0);
    const bool is_ahead = co_await until([&] { return shared[1] > 100; });
    CHECK(is_ahead);
    int furthest = 0;
    for (int taken = 1; taken < 300; ++taken) {
      co_await cofork::sleep(100us);
      const auto value = co_await stream.next();
      if (value != taken) FAIL("not the next value");
      furthest = std::max(furthest, shared[1] - taken);
    }
    // The window, and the value that waits for room; and what was taken before the parent looked.
    CHECK(furthest <= 256 + 64 + 2);
  });
}

TEST_CASE("a fast producer of large values leaves the memory of both processes flat") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(
        [](int counter) -> Stream<std::vector<char>> {
          for (;;) {
            ++Shared::at(static_cast<std::size_t>(counter));
            co_yield std::vector<char>(200'000, 'x');
          }
        },
        1);
    for (int i = 0; i < 20; ++i) co_await stream.next();
    const std::vector<pid_t> workers = co_await workers_of(pool, 1);
    const pid_t worker = workers.front();
    const std::size_t here = resident(::getpid()), there = resident(worker);
    int furthest = 0;
    for (int i = 20; i < 400; ++i) {
      const auto value = co_await stream.next();
      if (!value || value->size() != 200'000) FAIL("a wrong value");
      furthest = std::max(furthest, shared[1] - i);
      if (i % 20 == 0) co_await cofork::sleep(1ms);
    }
    // 1 MiB, of 200 kB each, and one that waits, and a quarter that was taken and not told.
    CHECK(furthest <= 10);
    if (!support::address_sanitizer) {
      CHECK(resident(::getpid()) < here + 8'000'000);
      CHECK(resident(worker) < there + 8'000'000);
    }
  });
}

TEST_CASE("a stream's exception arrives after the values before it") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    for (const int n : {0, 3, 1000}) {
      auto stream = pool.submit(
          [](int count) -> Stream<int> {
            for (int i = 0; i < count; ++i) co_yield i;
            throw std::out_of_range("no more");
          },
          n);
      int taken = 0;
      std::string error;
      try {
        while (co_await stream.next()) ++taken;
      } catch (const std::out_of_range& thrown) {
        error = thrown.what();
      }
      CHECK(taken == n);
      CHECK(error == "no more");
      const auto after = co_await stream.next();
      CHECK_FALSE(after);
    }
    CHECK(pool.stats().failed == 3);
    // The function itself, before there is a stream.
    auto none = pool.submit(
        [](bool fail) -> Stream<int> {
          if (fail) throw std::domain_error("not even one");
          return count_to(3);
        },
        true);
    std::string error;
    try {
      co_await none.next();
    } catch (const std::domain_error& thrown) {
      error = thrown.what();
    }
    CHECK(error == "not even one");
  });
}

TEST_CASE("cancelling a coroutine that awaits a worker's stream loses no value") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(
        [](int gate) -> Stream<int> {
          while (Shared::at(static_cast<std::size_t>(gate)) == 0) co_await cofork::sleep(100us);
          for (int i = 0; i < 60; ++i) {
            co_await cofork::sleep(1ms);
            co_yield i;
          }
        },
        1);
    int expected = 0;
    int cancelled = 0;
    for (bool more = true; more;) {
      std::optional<int> value;
      try {
        value = co_await cofork::wait_for(stream.next(), 300us);
        more = value.has_value();
      } catch (const TimeoutError&) {
        ++cancelled;
        shared[1] = 1;  // one that is certain; the others are as it happens
        continue;
      }
      if (!more) break;
      if (*value != expected) FAIL("a value was lost");
      ++expected;
    }
    CHECK(expected == 60);
    CHECK(cancelled > 0);
  });
}

TEST_CASE("streams from several workers are read side by side") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(3);
    std::vector<Stream<int>> streams;
    for (int i = 0; i < 9; ++i) streams.push_back(pool.submit(i % 2 == 0 ? count_to : slow_count, 40 + i));
    std::vector<Future<std::vector<int>>> all;
    for (Stream<int>& stream : streams) all.push_back(cofork::spawn(cofork::detail::collect(std::move(stream))));
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto& values = co_await all[i];
      CHECK(values.size() == 40 + i);
      CHECK(values.back() == static_cast<int>(39 + i));
    }
  });
}
