#include <sys/resource.h>

#include <algorithm>
#include <cofork/executors/respawn_brake.hpp>
#include <cofork/runtime/gather.hpp>
#include <csignal>
#include <set>
#include <vector>

#include "executors/pool_harness.hpp"
#include "support/stop.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::detail::RespawnBrake;

TEST_CASE("idle workers leave after the idle timeout, and others come when they are needed") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 3, .prestart = true, .idle_timeout = 50ms});
    const int four = co_await pool.submit(square, 2);
    CHECK(four == 4);
    // The last may be forked when the first is already gone.
    std::set<pid_t> seen;
    const bool gone = co_await until([&] {
      const std::vector<pid_t> pids = pool.worker_pids();
      seen.insert(pids.begin(), pids.end());
      return seen.size() == 3 && pids.empty();
    });
    CHECK(gone);
    CHECK(pool.stats().workers_died == 0);
    const std::uint64_t started = pool.stats().workers_started;
    const int nine = co_await pool.submit(square, 3);
    CHECK(nine == 9);
    CHECK(pool.stats().workers_started == started + 1);
  });
}

TEST_CASE("a worker that is busy for longer than the idle timeout stays") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .idle_timeout = 20ms});
    auto busy = pool.submit(wait_at_gate, 0, 1);
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    auto other = pool.submit(own_pid);
    const pid_t idle = co_await other;
    // The other worker leaves meanwhile.
    const bool left = co_await until([&] { return !support::is_running(idle); });
    CHECK(left);
    CHECK(busy.running());
    shared[1] = 1;
    const int result = co_await busy;
    CHECK(result == 0);
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("workers that get a task now and then do not leave") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .idle_timeout = 1h});
    std::set<pid_t> pids;
    for (int i = 0; i < 10; ++i) {
      pids.insert(co_await pool.submit(own_pid));
      co_await cofork::sleep(1ms);
    }
    CHECK(pids.size() == 1);
  });
}

TEST_CASE("workers with an idle timeout of nothing but a moment lose no task") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .idle_timeout = 1ns});
    for (int i = 0; i < 100; ++i) {
      const int result = co_await pool.submit(square, i);
      CHECK(result == i * i);
    }
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("an idle pool uses no processor time") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .prestart = true, .idle_timeout = 10s});
    co_await pool.submit(square, 1);
    co_await cofork::sleep(20ms);
    // In the best of some: workers may still be on their way, and a busy machine may charge for waiting.
    const double little = 0.01 * support::slowdown;
    double least = 1;
    for (int i = 0; i < 5 && least >= little; ++i) {
      timespec before{}, after{};
      ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
      co_await cofork::sleep(300ms);
      ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
      least = std::min(least, static_cast<double>(after.tv_sec - before.tv_sec) +
                                  1e-9 * static_cast<double>(after.tv_nsec - before.tv_nsec));
    }
    CHECK(least < little);
  });
}

TEST_CASE("a pool that grows starts workers for what waits") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 3; ++i) futures.push_back(pool.submit(wait_at_gate, 0, 1));
    const bool one = co_await until([&] { return shared[0] == 1; });
    CHECK(one);
    pool.resize(3);
    CHECK(pool.max_workers() == 3);
    const bool all = co_await until([&] { return shared[0] == 3; });
    CHECK(all);
    shared[1] = 1;
    co_await cofork::gather(std::move(futures));
  });
}

TEST_CASE("a pool that shrinks lets the surplus workers finish") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(4);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 4; ++i) futures.push_back(pool.submit(wait_at_gate, 0, 1));
    const bool all = co_await until([&] { return shared[0] == 4; });
    CHECK(all);
    pool.resize(1);
    auto later = pool.submit(own_pid);
    co_await cofork::sleep(5ms);
    CHECK_FALSE(later.running());
    shared[1] = 1;
    co_await cofork::gather(std::move(futures));
    const bool shrunk = co_await until([&] { return pool.worker_pids().size() == 1; });
    CHECK(shrunk);
    const pid_t left = co_await later;
    CHECK(pool.worker_pids() == std::vector{left});
    CHECK(pool.stats().workers_died == 0);
    CHECK(pool.stats().completed == 5);
  });
}

TEST_CASE("what a surplus worker has not begun goes to the others") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (int i = 0; i < 50; ++i) co_await pool.submit(square, i);  // so short that they are sent ahead
    std::vector<Future<int>> futures;
    for (int i = 0; i < 2000; ++i) futures.push_back(pool.submit(square, i));
    pool.resize(1);
    pool.resize(3);
    pool.resize(1);
    for (int i = 0; i < 2000; ++i) {
      const int result = co_await futures[static_cast<std::size_t>(i)];
      if (result != i * i) FAIL("a wrong result");
    }
    const bool shrunk = co_await until([&] { return pool.worker_pids().size() == 1; });
    CHECK(shrunk);
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("idle workers leave at once when the pool shrinks") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 4, .prestart = true});
    co_await workers_of(pool, 4);
    pool.resize(2);
    const bool shrunk = co_await until([&] { return pool.worker_pids().size() == 2; });
    CHECK(shrunk);
  });
}

TEST_CASE("a worker that does not come to leaving is ended, and has not died by itself") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .prestart = true});
    const std::vector<pid_t> workers = co_await workers_of(pool, 2);
    for (const pid_t worker : workers) support::stop(worker);
    pool.resize(1);
    const bool shrunk = co_await until([&] { return pool.worker_pids().size() == 1; });
    CHECK(shrunk);
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("a pool is resized before its first use, too") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    pool.resize(2);
    CHECK(pool.max_workers() == 2);
    const int four = co_await pool.submit(square, 2);
    CHECK(four == 4);
  });
}

TEST_CASE("a pool of no workers is refused, and one that was shut down is not resized") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    CHECK_THROWS_AS(pool.resize(0), std::invalid_argument);
    CHECK_THROWS_AS(ProcessPoolExecutor({.idle_timeout = -1ns}), std::invalid_argument);
    co_await pool.shutdown();
    CHECK_THROWS_AS(pool.resize(2), cofork::InvalidStateError);
  });
}

TEST_CASE("the respawn brake lets bursts pass, and then pauses for longer and longer") {
  RespawnBrake brake;
  RespawnBrake::Clock::time_point now{};
  now += 100s;
  for (unsigned i = 0; i < RespawnBrake::most; ++i) CHECK(brake.died(now += 1ms) == 0ns);
  CHECK(brake.died(now += 1ms) == RespawnBrake::first_pause);
  CHECK(brake.died(now += 1ms) == 2 * RespawnBrake::first_pause);
  CHECK(brake.died(now += 2ms) == 4 * RespawnBrake::first_pause);
  for (int i = 0; i < 20; ++i) now += brake.died(now);
  CHECK(brake.died(now) == RespawnBrake::longest_pause);
  brake.success();
  CHECK(brake.died(now) == 0ns);
}

TEST_CASE("the respawn brake does not mind deaths that are far between") {
  RespawnBrake brake;
  RespawnBrake::Clock::time_point now{};
  now += 100s;
  for (int i = 0; i < 1000; ++i) CHECK(brake.died(now += 11ms) == 0ns);
}

TEST_CASE("tasks that crash one after the other are no storm of forks, and the pool recovers") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 120; ++i) futures.push_back(pool.submit(+[] { return ::raise(SIGKILL); }));
    const auto start = std::chrono::steady_clock::now();
    for (auto& future : futures) CHECK_THROWS_AS(co_await future, cofork::WorkerDied);
    // The pauses after the 101st to the 110th, at the least, whichever two of them come together.
    CHECK(std::chrono::steady_clock::now() - start > 30ms);
    CHECK(pool.stats().workers_died == 120);
    const int four = co_await pool.submit(square, 2);
    CHECK(four == 4);
  });
}

TEST_CASE("a worker that runs goes on while the brake holds others back") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto running = pool.submit(wait_at_gate, 0, 1);
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 115; ++i) futures.push_back(pool.submit(+[] { return ::raise(SIGKILL); }));
    const bool braked = co_await until([&] { return pool.stats().workers_died > RespawnBrake::most + 3; });
    CHECK(braked);
    CHECK(running.running());
    shared[1] = 1;
    const int result = co_await running;
    CHECK(result == 0);
    for (auto& future : futures) CHECK_THROWS_AS(co_await future, cofork::WorkerDied);
  });
}
