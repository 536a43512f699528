// Functions that return a Stream, submitted to a pool.
#include <unistd.h>

#include <cofork/ipc/queue.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::CancelledError;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Stream;
using cofork::Task;
using cofork::TimeoutError;
using cofork::WorkerDied;

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
Stream<pid_t> pids_forever() {
  for (;;) co_yield ::getpid();
}
Stream<int> slow_count(int n) {
  for (int i = 0; i < n; ++i) {
    co_await cofork::sleep(1ms);
    co_yield i;
  }
}
Stream<int> three_then_sleep(int counter) {
  for (int i = 0; i < 3; ++i) co_yield i;
  ++Shared::at(static_cast<std::size_t>(counter));
  co_await cofork::sleep(1h);
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
    int furthest = 0;
    for (int taken = 1; taken < 300; ++taken) {
      co_await cofork::sleep(100us);
      const auto value = co_await stream.next();
      if (value != taken) FAIL("not the next value");
      furthest = std::max(furthest, shared[1] - taken);
    }
    // The window, and the value that waits for room; and what was taken before the parent looked.
    CHECK(furthest <= 256 + 64 + 2);
    CHECK(furthest > 100);
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
    const pid_t worker = pool.worker_pids().front();
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

TEST_CASE("a stream that is closed early leaves its worker whole") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 10s});
    const pid_t worker = co_await pool.submit(own_pid);
    for (int round = 0; round < 100; ++round) {
      auto stream = pool.submit(pids_forever);
      for (int i = 0; i < round * 5; ++i) {
        const auto pid = co_await stream.next();
        if (pid != worker) FAIL("another worker");
      }
      if (round % 2 == 0) {
        stream.close();
        const auto end = co_await stream.next();
        CHECK_FALSE(end);
      }
    }
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("a stream that is closed while its producer waits leaves its worker whole") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 10s});
    const pid_t worker = co_await pool.submit(own_pid);
    for (int round = 1; round <= 20; ++round) {
      auto stream = pool.submit(three_then_sleep, 1);
      const auto first = co_await stream.next();
      CHECK(first == 0);
      const bool waits = co_await until([&] { return shared[1] == round; });
      CHECK(waits);
      stream.close();
    }
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
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

TEST_CASE("the death of a worker is told after the values that its stream sent") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(three_then_sleep, 1);
    const bool sent = co_await until([&] { return shared[1] == 1; });
    CHECK(sent);
    const pid_t worker = pool.worker_pids().front();
    CHECK(::kill(worker, SIGKILL) == 0);
    int taken = 0;
    bool died = false;
    try {
      while (co_await stream.next()) ++taken;
    } catch (const WorkerDied& error) {
      died = error.exitcode() == -SIGKILL && error.pid() == worker;
    }
    CHECK(taken == 3);
    CHECK(died);
    const int next = co_await pool.submit(square, 3);
    CHECK(next == 9);
  });
}

TEST_CASE("a stream is run again after its worker died, until a value of it was taken") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto dies_twice = [](int counter) -> Stream<int> {
      const int attempt = ++Shared::at(static_cast<std::size_t>(counter));
      co_yield attempt * 10;
      co_yield attempt * 10 + 1;
      if (attempt < 3) {
        ++Shared::at(static_cast<std::size_t>(counter + 1));
        ::raise(SIGKILL);
      }
    };
    auto stream = pool.submit({.retries = 5}, dies_twice, 1);
    const bool again = co_await until([&] { return shared[1] == 3; });
    CHECK(again);
    const std::vector<int> all = co_await std::move(stream);
    CHECK(all == std::vector<int>{30, 31});

    shared[1] = 0;
    auto taken = pool.submit({.retries = 5}, dies_twice, 1);
    const auto first = co_await taken.next();
    CHECK(first);
    bool died = false;
    try {
      while (co_await taken.next()) {
      }
    } catch (const WorkerDied&) {
      died = true;
    }
    CHECK(died);
  });
}

TEST_CASE("a stream's timeout is told after the values before it, and its worker is kept") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 10s});
    const pid_t worker = co_await pool.submit(own_pid);
    auto stream = pool.submit({.timeout = 50ms * support::slowdown, .name = "sleeper"}, three_then_sleep, 1);
    int taken = 0;
    std::string error;
    try {
      while (co_await stream.next()) ++taken;
    } catch (const TimeoutError& thrown) {
      error = thrown.what();
    }
    CHECK(taken == 3);
    CHECK(error.find("sleeper exceeded its timeout") == 0);
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
  });
}

TEST_CASE("a producer that does not end when its stream is closed is killed after the grace") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 1ms});
    const pid_t worker = co_await pool.submit(own_pid);
    {
      auto stream = pool.submit(
          [](int counter) -> Stream<int> {
            co_yield 1;
            never_end(counter);
          },
          1);
      const auto first = co_await stream.next();
      CHECK(first == 1);
      const bool busy = co_await until([&] { return shared[1] == 1; });
      CHECK(busy);
    }
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after != worker);
    CHECK(pool.stats().workers_started == 2);
  });
}

TEST_CASE("cancelling a coroutine that awaits a worker's stream loses no value") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(slow_count, 60);
    int expected = 0;
    int cancelled = 0;
    for (bool more = true; more;) {
      std::optional<int> value;
      try {
        value = co_await cofork::wait_for(stream.next(), 300us);
        more = value.has_value();
      } catch (const TimeoutError&) {
        ++cancelled;
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

TEST_CASE("a stream that is dropped before its start never begins") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto blocker = pool.submit(wait_at_gate, 1, 2);
    const bool busy = co_await until([&] { return shared[1] == 1; });
    CHECK(busy);
    { auto dropped = pool.submit(count_forever, 3); }
    auto closed = pool.submit(count_forever, 3);
    closed.close();
    CHECK(pool.stats().cancelled == 2);
    shared[2] = 1;
    co_await blocker;
    const int next = co_await pool.submit(square, 2);
    CHECK(next == 4);
    CHECK(shared[3] == 0);
  });
}

TEST_CASE("the end of its pool is the end of a stream, after the values before it") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    std::optional<ProcessPoolExecutor> pool(std::in_place, 2u);
    auto open = pool->submit(three_then_sleep, 1);
    auto pending = pool->submit(count_to, 2);
    auto later = pool->submit(three_then_sleep, 2);
    const bool sent = co_await until([&] { return shared[1] == 1 && shared[2] == 1; });
    CHECK(sent);
    pool.reset();
    int taken = 0;
    bool cancelled = false;
    try {
      while (co_await open.next()) ++taken;
    } catch (const CancelledError&) {
      cancelled = true;
    }
    CHECK(taken == 3);
    CHECK(cancelled);
    const std::vector<int> whole = co_await std::move(pending);
    CHECK(whole == std::vector<int>{0, 1});
  });
}

TEST_CASE("shutdown waits for the streams that are open") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(count_to, 2000);
    const auto first = co_await stream.next();
    CHECK(first == 0);
    auto never = pool.submit(count_to, 5);
    auto ended = cofork::spawn(pool.shutdown({.cancel_futures = true}));
    const std::vector<int> all = co_await std::move(stream);
    CHECK(all.size() == 1999);
    co_await ended;
    bool cancelled = false;
    try {
      co_await never.next();
    } catch (const CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
  });
}

TEST_CASE("streams are closed at every state") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 10s});
    for (int round = 0; round < 400; ++round) {
      auto stream = round % 3 == 0   ? pool.submit(count_forever, 1)
                    : round % 3 == 1 ? pool.submit(slow_count, 3)
                                     : pool.submit(three_then_sleep, 2);
      for (int i = 0; i < round % 4; ++i) co_await stream.next();
      for (int i = 0; i < round % 5; ++i) co_await cofork::yield_now();
      if (round % 7 == 0) co_await cofork::sleep(std::chrono::microseconds(round * 3));
      stream.close();
    }
    std::vector<Future<int>> after;
    for (int i = 0; i < 20; ++i) after.push_back(pool.submit(square, i));
    for (int i = 0; i < 20; ++i) {
      const int value = co_await after[static_cast<std::size_t>(i)];
      CHECK(value == i * i);
    }
    CHECK(pool.stats().workers_died == 0);
    CHECK(pool.stats().workers_started == 2);
  });
}
