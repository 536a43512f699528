#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/select.hpp>
#include <cofork/runtime/shield.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/task_group.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::CancelledError;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

// Writes its pid into `slot`, then never ends.
int never_end_as(int slot) {
  Shared::at(static_cast<std::size_t>(slot)) = ::getpid();
  for (;;) pause_for(1h);
}

bool gone(int pid) { return !support::is_running(pid); }

}  // namespace

TEST_CASE("killing an executing task ends it and replaces its worker") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 10ms});
    auto stuck = pool.submit(never_end_as, 0);
    auto next = pool.submit(square, 4);
    const bool started = co_await until([&] { return shared[0] != 0; });
    REQUIRE(started);
    CHECK(stuck.running());
    CHECK_FALSE(stuck.cancel());
    CHECK(stuck.kill());
    const int result = co_await next;
    CHECK(result == 16);
    const bool done = co_await until([&] { return stuck.done(); });
    CHECK(done);
    CHECK(stuck.cancelled());
    CHECK_FALSE(stuck.kill());
    CHECK(gone(shared[0]));
    const std::vector<pid_t> pids = co_await workers_of(pool, 1);
    CHECK(pids.size() == 1);
    CHECK(pids[0] != shared[0]);
    CHECK(pool.stats().workers_started == 2);
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("a task that waits in the queue is killed without touching a worker") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto gate = pool.submit(wait_at_gate, 1, 0);
    auto waiting = pool.submit(square, 4);
    CHECK(waiting.kill());
    CHECK(waiting.cancelled());
    shared[0] = 1;
    co_await gate;
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("wait_for stops the task that it gives up on and has ended it when it throws") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 20ms});
    auto other = pool.submit(wait_at_gate, 2, 3);
    auto stuck = pool.submit(never_end_as, 0);
    const bool started = co_await until([&] { return shared[0] != 0 && shared[2] == 1; });
    REQUIRE(started);
    bool timed_out = false;
    try {
      co_await cofork::wait_for(stuck, 10ms);
    } catch (const cofork::TimeoutError&) {
      timed_out = true;
    }
    CHECK(timed_out);
    CHECK(stuck.cancelled());
    CHECK(gone(shared[0]));
    CHECK(other.running());
    shared[3] = 1;
    co_await other;
    CHECK(shared[2] == 1);
    // And one that the wait owns, before it has begun.
    auto awaited = cofork::wait_for(pool.submit(never_end, 5), 1ms);
    timed_out = false;
    try {
      co_await std::move(awaited);
    } catch (const cofork::TimeoutError&) {
      timed_out = true;
    }
    CHECK(timed_out);
  });
}

TEST_CASE("select stops the task that lost") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 10ms});
    auto stuck = pool.submit(never_end_as, 0);
    const bool started = co_await until([&] { return shared[0] != 0; });
    REQUIRE(started);
    auto first = co_await cofork::select(std::move(stuck), pool.submit(square, 3));
    CHECK(first.index() == 1);
    CHECK(gone(shared[0]));
  });
}

TEST_CASE("a task group that fails stops its pool tasks") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 10ms});
    bool failed = false;
    try {
      co_await cofork::with_task_group([&](cofork::TaskGroup& group) -> Task<> {
        for (int i = 0; i < 4; ++i) {
          auto child = [](ProcessPoolExecutor& p, int slot) -> Task<int> {
            const int result = co_await p.submit(never_end_as, slot);
            co_return result;
          };
          (void)group.spawn(child(pool, i));
        }
        const bool started = co_await until([&] { return shared[0] != 0 && shared[1] != 0; });
        if (started) throw std::runtime_error("enough");
      });
    } catch (const std::runtime_error& error) {
      failed = std::string(error.what()) == "enough";
    }
    CHECK(failed);
    // The others, if they were begun at all.
    for (std::size_t i = 0; i < 4; ++i) CHECK((shared[i] == 0 || gone(shared[i])));
    const int after = co_await pool.submit(square, 6);
    CHECK(after == 36);
  });
}

TEST_CASE("shield keeps the task running when its awaiter is cancelled") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto task = pool.submit(wait_at_gate, 1, 0);
    const bool started = co_await until([&] { return shared[1] == 1; });
    REQUIRE(started);
    bool timed_out = false;
    try {
      co_await cofork::wait_for(cofork::shield(task), 5ms);
    } catch (const cofork::TimeoutError&) {
      timed_out = true;
    }
    CHECK(timed_out);
    CHECK(task.running());
    shared[0] = 1;
    const int result = co_await task;
    CHECK(result == 1);
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("a future that is dropped lets its task run") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    {
      auto dropped = pool.submit([](int counter) { ++Shared::at(static_cast<std::size_t>(counter)); }, 3);
    }
    co_await pool.shutdown();
    CHECK(shared[3] == 1);
  });
}

TEST_CASE("tasks are cancelled at random moments and each ends once") {
  Shared shared(2048);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto count = [](int slot) { return ++Shared::at(static_cast<std::size_t>(slot)); };
    constexpr int tasks = 1500;
    std::vector<Future<int>> futures;
    std::vector<int> ends(tasks);
    std::vector<char> cancelled(tasks);
    unsigned random = 1;
    for (int i = 0; i < tasks; ++i) {
      futures.push_back(pool.submit(count, i));
      futures.back().add_done_callback([&, i](Future<int>&) { ++ends[static_cast<std::size_t>(i)]; });
      random = random * 1664525 + 1013904223;
      const auto victim = static_cast<std::size_t>(random >> 8) % futures.size();
      if (random % 3 == 0 && !futures[victim].done()) cancelled[victim] |= futures[victim].cancel();
      if (random % 16 == 0) co_await cofork::yield_now();
    }
    co_await pool.shutdown();
    int wrong = 0;
    for (std::size_t i = 0; i < tasks; ++i) {
      const int runs = shared[i];
      wrong += ends[i] != 1 || futures[i].cancelled() != bool(cancelled[i]) || runs != (cancelled[i] ? 0 : 1);
    }
    CHECK(wrong == 0);
  });
}

TEST_CASE("killing tasks over and over leaves the pool whole") {
  Shared shared(512);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 1ms});
    for (int round = 0; round < 20; ++round) {
      auto stuck = pool.submit(never_end_as, round);
      auto other = pool.submit(square, round);
      if (round % 2 == 0) {
        const bool started = co_await until([&] { return shared[static_cast<std::size_t>(round)] != 0; });
        REQUIRE(started);
      }
      CHECK(stuck.kill());
      const int result = co_await other;
      CHECK(result == round * round);
      const bool done = co_await until([&] { return stuck.done(); });
      CHECK(done);
      CHECK(stuck.cancelled());
    }
  });
}

TEST_CASE("The arguments of a task that was cancelled before it began are freed, though its future lives") {
  cofork::run([]() -> Task<> {
    Shared shared;
    auto kept = std::make_shared<int>(1);
    const auto value_of = [](std::shared_ptr<int> pointer) { return *pointer; };
    auto pool = std::make_unique<ProcessPoolExecutor>(1);
    Future<void> blocker = pool->submit([] { pass_gate(0); });
    Future<int> cancelled = pool->submit(value_of, kept);
    Future<int> dropped = pool->submit(value_of, kept);
    CHECK(kept.use_count() == 3);
    CHECK(cancelled.cancel());
    CHECK(kept.use_count() == 2);
    pool.reset();
    CHECK(kept.use_count() == 1);
    CHECK(dropped.cancelled());
    co_return;
  });
}
