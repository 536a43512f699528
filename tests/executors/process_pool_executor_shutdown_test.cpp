#include <fcntl.h>
#include <sys/stat.h>

#include <cofork/runtime/as_completed.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <ranges>
#include <vector>

#include "executors/pool_harness.hpp"
#include "support/stop.hpp"

using namespace pool_test;
using cofork::CancelledError;
using cofork::Future;
using cofork::InvalidStateError;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using Clock = std::chrono::steady_clock;

TEST_CASE("shutdown waits for all that was submitted and can be repeated") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 50; ++i)
      futures.push_back(pool.submit(
          [](int x) {
            pause_for(1ms);
            ++Shared::at(0);
            return x;
          },
          i));
    co_await pool.shutdown();
    CHECK(shared[0] == 50);
    for (auto& future : futures) CHECK(future.done());
    CHECK(pool.worker_pids().empty());
    CHECK_THROWS_AS(pool.submit(square, 1), InvalidStateError);
    CHECK_THROWS_AS(pool.map(square, std::views::iota(0, 3)), InvalidStateError);
    co_await pool.shutdown();
    co_await pool.shutdown({.wait = false, .cancel_futures = true});
    CHECK(futures[49].result() == 49);
  });
}

TEST_CASE("shutdown that cancels leaves what is executing") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 10; ++i) futures.push_back(pool.submit(wait_at_gate, 0, 1));
    const bool started = co_await until([&] { return shared[0] == 2; });
    REQUIRE(started);
    auto closing = pool.shutdown({.cancel_futures = true});
    for (std::size_t i = 2; i < 10; ++i) CHECK(futures[i].cancelled());
    CHECK(futures[0].running());
    CHECK(futures[1].running());
    shared[1] = 1;
    co_await std::move(closing);
    CHECK(futures[0].result() == 0);
    CHECK(futures[1].result() == 0);
    CHECK(shared[0] == 2);
    CHECK(pool.stats().cancelled == 8);
  });
}

TEST_CASE("shutdown that cancels also reaches what was sent ahead to a worker, and as_completed gives it") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto pass = [](int gate) { return wait_at_gate(0, gate); };
    shared[2] = 1;
    for (int i = 0; i < 50; ++i) co_await pool.submit(pass, 2);
    std::vector<Future<int>> futures;
    futures.push_back(pool.submit(pass, 1));
    for (int i = 0; i < 20; ++i) futures.push_back(pool.submit(pass, 2));
    const bool started = co_await until([&] { return shared[0] == 51; });
    REQUIRE(started);
    auto closing = pool.shutdown({.wait = false, .cancel_futures = true});
    shared[1] = 1;
    int cancelled = 0;
    auto completed = cofork::as_completed(std::move(futures), {.timeout = 30s});
    while (auto future = co_await completed.next()) cancelled += future->cancelled();
    CHECK(cancelled == 20);
    CHECK(shared[0] == 51);
    co_await std::move(closing);
  });
}

TEST_CASE("shutdown without waiting lets the work go on") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 5; ++i) futures.push_back(pool.submit(wait_at_gate, 0, 1));
    co_await pool.shutdown({.wait = false});
    CHECK_THROWS_AS(pool.submit(square, 1), InvalidStateError);
    CHECK_FALSE(futures[0].done());
    shared[1] = 1;
    co_await cofork::gather(std::move(futures));
    CHECK(shared[0] == 5);
  });
}

TEST_CASE("cancelling the wait for a shutdown does not stop the shutdown") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto task = pool.submit(wait_at_gate, 0, 1);
    bool timed_out = false;
    try {
      co_await cofork::wait_for(pool.shutdown(), 5ms);
    } catch (const cofork::TimeoutError&) {
      timed_out = true;
    }
    CHECK(timed_out);
    CHECK_FALSE(task.done());
    shared[1] = 1;
    co_await pool.shutdown();
    CHECK(task.result() == 0);
  });
}

TEST_CASE("a map that was begun before the shutdown is finished") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto stream = pool.map(
        [](int x) {
          pause_for(100us);
          return x;
        },
        std::views::iota(0, 500));
    co_await pool.shutdown();
    const std::vector<int> all = co_await std::move(stream);
    CHECK(all.size() == 500);
  });
}

TEST_CASE("a bounded map that was begun before the shutdown ends where its buffer does") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const std::size_t taken : {0u, 5u}) {
      ProcessPoolExecutor own(2);
      auto stream = own.map({.buffersize = 10}, square, std::views::iota(0));
      for (std::size_t i = 0; i < taken; ++i) co_await stream.next();
      co_await own.shutdown();
      std::size_t got = taken;
      bool refused = false;
      try {
        while (co_await stream.next()) ++got;
      } catch (const InvalidStateError&) {
        refused = true;
      }
      CHECK(refused);
      CHECK(got >= taken);
      CHECK(got <= taken + 10);
      const std::optional<int> end = co_await stream.next();
      CHECK_FALSE(end);
    }
  });
}

TEST_CASE("a pool that was never used closes at once") {
  { ProcessPoolExecutor unused(3); }
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(3);
    co_await pool.shutdown();
    CHECK_THROWS_AS(pool.submit(square, 1), InvalidStateError);
    ProcessPoolExecutor other(3);
    other.kill_workers();
    other.terminate_workers();
    co_await other.shutdown();
  });
  ProcessPoolExecutor outside(1);
  CHECK_THROWS_AS(outside.submit(square, 1), std::logic_error);
}

TEST_CASE("terminate_workers and kill_workers end everything with CancelledError") {
  Shared shared;
  for (const bool kill : {true, false}) {
    shared[0] = 0;
    cofork::run([&]() -> Task<> {
      ProcessPoolExecutor pool({.max_workers = 2, .grace = 1h});
      std::vector<Future<int>> futures;
      for (int i = 0; i < 6; ++i) futures.push_back(pool.submit({.retries = 3}, never_end, 0));
      auto stream = pool.map(never_end, std::vector<int>(5, 0));
      const bool started = co_await until([&] { return shared[0] == 2; });
      REQUIRE(started);
      const std::vector<pid_t> pids = co_await workers_of(pool, 2);
      if (kill)
        pool.kill_workers();
      else
        pool.terminate_workers();
      CHECK_THROWS_AS(pool.submit(square, 1), InvalidStateError);
      const bool ended = co_await until(
          [&] { return std::all_of(futures.begin(), futures.end(), [](const auto& f) { return f.done(); }); });
      REQUIRE(ended);
      for (auto& future : futures) CHECK(future.cancelled());
      bool cancelled = false;
      try {
        co_await stream.next();
      } catch (const CancelledError&) {
        cancelled = true;
      }
      CHECK(cancelled);
      co_await pool.shutdown();
      for (const pid_t pid : pids) CHECK_FALSE(support::is_running(pid));
      CHECK(pool.worker_pids().empty());
      CHECK(pool.stats().workers_started == 2);
      pool.kill_workers();
    });
    CHECK(shared[0] == 2);
  }
}

TEST_CASE("terminate_workers kills those that ignore SIGTERM after the grace") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 50ms});
    auto deaf = pool.submit([] {
      ::signal(SIGTERM, SIG_IGN);
      return never_end(0);
    });
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    pool.terminate_workers();
    co_await pool.shutdown();
    CHECK(deaf.cancelled());
  });
}

TEST_CASE("shutdown is not held up by an idle worker that somebody stopped", "[limit:40]") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const pid_t pid = co_await pool.submit(own_pid);
    support::stop(pid);
    auto unbegun = pool.submit(square, 3);
    co_await cofork::sleep(10ms);
    CHECK(unbegun.cancel());
    co_await pool.shutdown();
    CHECK_FALSE(support::is_running(pid));
  });
}

TEST_CASE("the destructor cancels what is pending and running at once") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    std::vector<Future<int>> futures;
    std::vector<pid_t> pids;
    std::chrono::nanoseconds took{};
    {
      ProcessPoolExecutor pool({.max_workers = 2, .grace = 1h});
      for (int i = 0; i < 6; ++i)
        futures.push_back(pool.submit([] {
          ::signal(SIGTERM, SIG_IGN);
          return never_end(0);
        }));
      const bool started = co_await until([&] { return shared[0] == 2; });
      REQUIRE(started);
      pids = co_await workers_of(pool, 2);
      took = -Clock::now().time_since_epoch();
    }
    took += Clock::now().time_since_epoch();
    CHECK(took < 30s);
    for (auto& future : futures) {
      CHECK(future.done());
      CHECK(future.cancelled());
      CHECK_FALSE(future.kill());
      CHECK_FALSE(future.running());
    }
    for (const pid_t pid : pids) CHECK_FALSE(support::is_running(pid));
  });
}

TEST_CASE("a coroutine that awaits a task of a destroyed pool gets CancelledError") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    auto pool = std::make_unique<ProcessPoolExecutor>(1u);
    auto awaiter = [](Future<int> future) -> Task<bool> {
      try {
        co_await future;
      } catch (const CancelledError&) {
        co_return true;
      }
      co_return false;
    };
    auto waiting = cofork::spawn(awaiter(pool->submit(never_end, 0)));
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    pool.reset();
    const bool cancelled = co_await waiting;
    CHECK(cancelled);
  });
}

TEST_CASE("run closes a pool that outlives its main, and futures outlive both") {
  Shared shared;
  ProcessPoolExecutor pool(2);
  std::vector<Future<int>> futures;
  std::optional<cofork::Stream<int>> stream;
  cofork::run([&]() -> Task<> {
    for (int i = 0; i < 4; ++i) futures.push_back(pool.submit(never_end, 0));
    stream = pool.map({.timeout = 1h}, never_end, std::vector<int>(3, 0));
    const int value = co_await ProcessPoolExecutor(1).submit(square, 6);
    CHECK(value == 36);
    const bool started = co_await until([&] { return shared[0] == 2; });
    REQUIRE(started);
  });
  for (auto& future : futures) CHECK(future.cancelled());
  CHECK(pool.worker_pids().empty());
  cofork::run([&]() -> Task<> {
    CHECK_THROWS_AS(pool.submit(square, 1), InvalidStateError);
    co_return;
  });
}

TEST_CASE("a pool works inside the worker of another") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto nested = [](int base) {
      return cofork::run([base]() -> Task<int> {
        ProcessPoolExecutor inner(2);
        int sum = 0;
        auto stream = inner.map(square, std::views::iota(base, base + 10));
        while (std::optional<int> value = co_await stream.next()) sum += *value;
        co_await inner.shutdown();
        co_return sum;
      });
    };
    auto first = pool.submit(nested, 0);
    auto second = pool.submit(nested, 10);
    const int a = co_await first;
    const int b = co_await second;
    CHECK(a == 285);
    CHECK(a + b == 2470);
    // Killed with all that it has started.
    Shared shared;
    ProcessPoolExecutor outer({.max_workers = 1, .grace = 5ms});
    auto stuck = outer.submit([] {
      cofork::run([]() -> Task<> {
        ProcessPoolExecutor inner(1);
        co_await inner.submit(never_end, 0);
      });
    });
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    CHECK(stuck.kill());
  });
}
