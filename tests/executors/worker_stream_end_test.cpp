// The ends of streams from workers: closed, timed out, died, shut down.
#include <unistd.h>

#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <csignal>
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

}  // namespace

TEST_CASE("a stream that is closed early leaves its worker whole") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
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
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
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

TEST_CASE("the death of a worker is told after the values that its stream sent") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stream = pool.submit(three_then_sleep, 1);
    const bool sent = co_await until([&] { return shared[1] == 1; });
    CHECK(sent);
    const std::vector<pid_t> workers = co_await workers_of(pool, 1);
    const pid_t worker = workers.front();
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
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    const pid_t worker = co_await pool.submit(own_pid);
    // Until there was time enough for the values.
    bool in_time = false;
    for (std::chrono::milliseconds timeout = 100ms; !in_time; timeout *= 2) {
      shared[1] = 0;
      const auto deadline = std::chrono::steady_clock::now() + timeout;
      auto stream = pool.submit({.timeout = timeout, .name = "sleeper"}, three_then_sleep, 1);
      in_time = co_await holds_before(deadline, [&] { return shared[1] == 1; });
      int taken = 0;
      std::string error;
      try {
        while (co_await stream.next()) ++taken;
      } catch (const TimeoutError& thrown) {
        error = thrown.what();
      }
      CHECK((taken == 3 || !in_time));
      CHECK(error.find("sleeper exceeded its timeout") == 0);
    }
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
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 30s});
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
