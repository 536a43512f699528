#include <cofork/runtime/gather.hpp>
#include <csignal>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::TimeoutError;
using Clock = std::chrono::steady_clock;

namespace {

volatile std::sig_atomic_t told = 0;

// Initializers, for a task may be told to end before it has got anywhere.
void be_told() {
  ::signal(SIGTERM, [](int) { told = 1; });
}
void ignore_the_signal() { ::signal(SIGTERM, SIG_IGN); }

int end_when_told(int counter) {
  ++Shared::at(static_cast<std::size_t>(counter));
  while (!told) pause_for(1ms);
  ++Shared::at(static_cast<std::size_t>(counter));
  return 5;
}
int never_end_as(int slot) {
  Shared::at(static_cast<std::size_t>(slot)) = ::getpid();
  for (;;) pause_for(1h);
}

}  // namespace

TEST_CASE("a task that exceeds its timeout ends with TimeoutError and its worker is replaced") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto begin = Clock::now();
    auto late = pool.submit({.timeout = 30ms, .grace = 1h, .name = "the late one"}, never_end, 0);
    const bool done = co_await until([&] { return late.done(); });
    REQUIRE(done);
    const auto elapsed = Clock::now() - begin;
    CHECK(error_of<TimeoutError>(late) == "the late one exceeded its timeout of 0.03 s");
    CHECK(elapsed >= 30ms);
    const int after = co_await pool.submit({.timeout = 45s}, square, 2);
    CHECK(after == 4);
    CHECK(pool.stats().workers_started == 2);
    CHECK(pool.stats().failed == 1);
  });
}

TEST_CASE("the timeout counts from the beginning of the execution") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto first = pool.submit(wait_at_gate, 0, 1);
    const auto timeout = 200ms;
    auto second = pool.submit({.timeout = timeout}, never_end, 2);
    co_await cofork::sleep(timeout + 50ms);
    CHECK_FALSE(second.done());
    const auto begin = Clock::now();
    shared[1] = 1;
    co_await first;
    const bool done = co_await until([&] { return second.done(); });
    REQUIRE(done);
    CHECK(error_of<TimeoutError>(second).find("exceeded its timeout") != std::string::npos);
    CHECK(Clock::now() - begin >= timeout);
  });
}

TEST_CASE("each task has its own deadline although they were sent together") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto wait_at = [](int counter, int gate) { wait_at_gate(counter, gate); };
    shared[2] = 1;
    for (int i = 0; i < 50; ++i) co_await pool.submit({.timeout = 60s}, wait_at, 1, 2);
    auto quick = pool.submit({.timeout = 60s}, wait_at, 1, 2);
    auto stuck = pool.submit({.timeout = 40ms}, wait_at, 3, 0);
    auto last = pool.submit({.timeout = 60s}, wait_at, 1, 2);
    co_await last;
    const bool done = co_await until([&] { return stuck.done(); });
    REQUIRE(done);
    CHECK(error_of<TimeoutError>(stuck).find("0.04 s") != std::string::npos);
    CHECK(quick.done());
    CHECK(shared[1] == 52);
    CHECK(shared[3] <= 1);  // it may be late before it has counted itself
  });
}

TEST_CASE("a task that ignores SIGTERM gets SIGKILL after the grace and delays nobody meanwhile") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1}, ignore_the_signal);
    auto deaf = pool.submit({.timeout = 20ms, .grace = 1h}, never_end_as, 0);
    const int behind = co_await pool.submit(square, 5);
    CHECK(behind == 25);
    CHECK_FALSE(deaf.done());
    const bool begun = co_await until([&] { return shared[0] != 0; });
    REQUIRE(begun);
    CHECK(support::is_running(shared[0]));
    const auto begin = Clock::now();
    auto other = pool.submit({.timeout = 20ms, .grace = 100ms}, never_end_as, 1);
    const bool done = co_await until([&] { return other.done(); });
    REQUIRE(done);
    CHECK(Clock::now() - begin >= 120ms);
    CHECK(error_of<TimeoutError>(other).find("exceeded its timeout") != std::string::npos);
    CHECK((shared[1] == 0 || !support::is_running(shared[1])));
    CHECK_FALSE(deaf.done());
  });
}

TEST_CASE("a task that ends by itself when told to stop has still exceeded its timeout and needs no grace") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1}, be_told);
    auto obedient = pool.submit({.timeout = 30ms, .grace = 1h}, end_when_told, 0);
    const bool done = co_await until([&] { return obedient.done(); });
    REQUIRE(done);
    CHECK(error_of<TimeoutError>(obedient).find("exceeded its timeout") != std::string::npos);
    CHECK(shared[0] == 2);
    const int after = co_await pool.submit(square, 5);
    CHECK(after == 25);
  });
}

TEST_CASE("a timeout reaches the children that the task started") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto with_child = [] {
      const pid_t child = ::fork();
      if (child == 0) {
        ::signal(SIGTERM, SIG_IGN);
        Shared::at(0) = ::getpid();
        for (;;) pause_for(1h);
      }
      for (;;) pause_for(1h);
    };
    // Until there was time enough to start the child.
    for (std::chrono::milliseconds timeout = 100ms; shared[0] == 0; timeout *= 2) {
      auto task = pool.submit({.timeout = timeout, .grace = 30ms}, with_child);
      const bool done = co_await until([&] { return task.done(); });
      REQUIRE(done);
      CHECK(error_of<TimeoutError>(task).find("exceeded its timeout") != std::string::npos);
    }
    const bool gone = co_await until([&] { return !support::is_running(shared[0]); });
    CHECK(gone);
  });
}

TEST_CASE("a task's own TimeoutError arrives as it is") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto task = pool.submit([] { throw TimeoutError("mine"); });
    const bool done = co_await until([&] { return task.done(); });
    REQUIRE(done);
    CHECK(error_of<TimeoutError>(task) == "mine");
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("many deadlines at once end just the late tasks") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(4);
    std::vector<Future<int>> late, quick;
    for (int i = 0; i < 8; ++i) {
      late.push_back(pool.submit({.timeout = 20ms, .grace = 5ms}, never_end, 0));
      quick.push_back(pool.submit({.timeout = 45s}, square, i));
    }
    co_await cofork::gather(std::move(quick));
    for (auto& future : late) {
      const bool done = co_await until([&] { return future.done(); });
      REQUIRE(done);
      CHECK(error_of<TimeoutError>(future).find("exceeded") != std::string::npos);
    }
    CHECK(shared[0] <= 8);
  });
}

TEST_CASE("negative durations are refused") {
  cofork::run([]() -> Task<> {
    CHECK_THROWS_AS(ProcessPoolExecutor(0u), std::invalid_argument);
    CHECK_THROWS_AS(ProcessPoolExecutor({.grace = -1s}), std::invalid_argument);
    ProcessPoolExecutor pool(1);
    CHECK_THROWS_AS(pool.submit({.timeout = -1s}, square, 1), std::invalid_argument);
    CHECK_THROWS_AS(pool.submit({.grace = -1s}, square, 1), std::invalid_argument);
    const std::vector<int> numbers{1, 2};
    CHECK_THROWS_AS(pool.map({.timeout = -1s}, square, numbers), std::invalid_argument);
    CHECK_THROWS_AS(pool.map({.item_timeout = -1s}, square, numbers), std::invalid_argument);
    co_return;
  });
}
