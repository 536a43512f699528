// A loop that was kept from running for longer than a task's time limit.
#include <cofork/executors/fork_executor.hpp>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::ForkExecutor;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::WorkerDied;

namespace {

constexpr auto timeout = 100ms;

int die_at_once(int counter) {
  Shared::at(static_cast<std::size_t>(counter)) = ::getpid();
  ::raise(SIGKILL);
  return 0;
}

/// Keeps the loop from running until the task's worker has died and its time limit is over.
void be_late(int counter) {
  std::atomic<int>& pid = Shared::at(static_cast<std::size_t>(counter));
  REQUIRE(support::eventually([&] { return pid != 0 && !support::is_running(pid); }));
  pause_for(2 * timeout);
}

}  // namespace

TEST_CASE("a worker that died within the timeout is WorkerDied although the loop is late to hear of it") {
  Shared shared;
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    co_await pool.submit(square, 1);
    co_await workers_of(pool, 1);
    auto doomed = pool.submit({.timeout = timeout}, die_at_once, 0);
    be_late(0);
    const bool done = co_await until([&] { return doomed.done(); });
    REQUIRE(done);
    CHECK_THROWS_AS(doomed.result(), WorkerDied);
  });
}

TEST_CASE("a worker that died within the timeout is WorkerDied although the loop is late to hear of its start, too") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto doomed = pool.submit({.timeout = timeout}, die_at_once, 0);
    // Reaped, and so its start was reported.
    REQUIRE(support::eventually([&] { return shared[0] != 0 && ::kill(shared[0], 0) != 0; }));
    be_late(0);
    const bool done = co_await until([&] { return doomed.done(); });
    REQUIRE(done);
    CHECK_THROWS_AS(doomed.result(), WorkerDied);
  });
}

TEST_CASE("a forked task that died within the timeout is WorkerDied although the loop is late to hear of it") {
  Shared shared;
  cofork::run([]() -> Task<> {
    ForkExecutor executor;
    auto doomed = executor.submit({.timeout = timeout}, die_at_once, 0);
    be_late(0);
    const bool done = co_await until([&] { return doomed.done(); });
    REQUIRE(done);
    CHECK_THROWS_AS(doomed.result(), WorkerDied);
  });
}
