#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/wait.hpp>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::WorkerDied;

namespace {

enum Way { by_signal, by_exit_zero, by_exit_three, by_exit_with_handlers, by_abort, by_quick_exit };

int die(int way) {
  ++Shared::at(0);
  switch (way) {
    case by_signal:
      ::raise(SIGKILL);
      break;
    case by_exit_zero:
      ::_exit(0);
    case by_exit_three:
      ::_exit(3);
    case by_exit_with_handlers:
      std::exit(4);
    case by_abort:
      ::signal(SIGABRT, SIG_DFL);
      std::abort();
    case by_quick_exit:
      std::quick_exit(6);
  }
  return way;
}

// Dies as long as the counter is not above `times`.
int die_some_times(int counter, int times) {
  const int run = ++Shared::at(static_cast<std::size_t>(counter));
  if (run <= times) ::raise(SIGKILL);
  return run;
}

std::optional<WorkerDied> death_of(Future<int>& future) {
  try {
    future.result();
  } catch (const WorkerDied& died) {
    return died;
  } catch (const std::exception& error) {
    UNSCOPED_INFO(error.what());
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("a worker that dies fails the task it executes, however it dies") {
  Shared shared;
  static std::atomic<int>* handler_runs = nullptr;
  handler_runs = &shared[9];
  std::atexit([] {
    if (handler_runs) ++*handler_runs;
  });
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto survivor = pool.submit(wait_at_gate, 1, 2);
    const bool started = co_await until([&] { return shared[1] == 1; });
    REQUIRE(started);
    const int exitcodes[] = {-SIGKILL, 0, 3, 4, -SIGABRT, 6};
    for (int way = by_signal; way <= by_quick_exit; ++way) {
      INFO("way " << way);
      auto doomed = pool.submit({.name = "doomed"}, die, way);
      auto behind = pool.submit(square, way);
      const int result = co_await behind;
      CHECK(result == way * way);
      const bool done = co_await until([&] { return doomed.done(); });
      REQUIRE(done);
      const std::optional<WorkerDied> died = death_of(doomed);
      REQUIRE(died);
      CHECK(died->exitcode() == exitcodes[way]);
      CHECK(died->task_name() == "doomed");
      CHECK(died->pid() > 0);
      CHECK(std::string(died->what()).find("doomed") != std::string::npos);
      CHECK_FALSE(doomed.cancelled());
    }
    CHECK(shared[0] == 6);
    CHECK(shared[9] == 0);
    CHECK(survivor.running());
    CHECK(pool.stats().workers_died == 6);
    shared[2] = 1;
    co_await survivor;
  });
  handler_runs = nullptr;
}

TEST_CASE("the message of a death names the worker and the signal") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto doomed = pool.submit(die, int(by_abort));
    const bool done = co_await until([&] { return doomed.done(); });
    REQUIRE(done);
    const std::string what = error_of<WorkerDied>(doomed);
    CHECK(what.find("was killed by SIGABRT while it executed ") != std::string::npos);
    const std::optional<WorkerDied> died = death_of(doomed);
    REQUIRE(died);
    CHECK(what.find("worker " + std::to_string(died->pid())) == 0);
    CHECK_FALSE(died->task_name().empty());
  });
}

TEST_CASE("killing an idle worker from outside disturbs nobody") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    for (int round = 0; round < 5; ++round) {
      const pid_t pid = co_await pool.submit(own_pid);
      ::kill(pid, SIGKILL);
      // Dead, while the pool does not know it yet: a task that it had begun would be lost with it.
      CHECK(support::eventually([&] { return !support::is_running(pid); }));
      const int result = co_await pool.submit(square, round);
      CHECK(result == round * round);
    }
  });
}

TEST_CASE("killing a stopped worker from outside fails just its task") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto stuck = pool.submit(never_end, 0);
    auto behind = pool.submit(square, 3);
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    const std::vector<pid_t> pids = co_await workers_of(pool, 1);
    const pid_t pid = pids[0];
    ::kill(pid, SIGSTOP);
    co_await cofork::sleep(5ms);
    CHECK(stuck.running());
    ::kill(pid, SIGKILL);
    const int result = co_await behind;
    CHECK(result == 9);
    REQUIRE(stuck.done());
    CHECK(death_of(stuck)->exitcode() == -SIGKILL);
  });
}

TEST_CASE("tasks behind one whose worker dies run once, elsewhere") {
  Shared shared(300);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto count = [](int slot) {
      ++Shared::at(static_cast<std::size_t>(slot));
      if (slot == 100 || slot == 150) ::raise(SIGKILL);
      return slot;
    };
    std::vector<Future<int>> futures;
    for (int i = 0; i < 100; ++i) futures.push_back(pool.submit(count, i));
    co_await cofork::wait(futures);
    for (int i = 100; i < 300; ++i) futures.push_back(pool.submit(count, i));
    co_await cofork::wait(futures);
    int wrong = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      const bool failed = futures[i].exception() != nullptr;
      wrong += failed != (i == 100 || i == 150) || shared[i] != 1;
    }
    CHECK(wrong == 0);
  });
}

TEST_CASE("retries run a task again after its worker died, so often and no oftener") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const int third = co_await pool.submit({.retries = 5}, die_some_times, 0, 2);
    CHECK(third == 3);
    CHECK(shared[0] == 3);
    auto poison = pool.submit({.retries = 3}, die_some_times, 1, 1000);
    auto other = pool.submit(square, 5);
    const int result = co_await other;
    CHECK(result == 25);
    const bool done = co_await until([&] { return poison.done(); });
    REQUIRE(done);
    CHECK(death_of(poison).has_value());
    CHECK(shared[1] == 4);
    auto exactly = pool.submit({.retries = 2}, die_some_times, 2, 2);
    const int last = co_await exactly;
    CHECK(last == 3);
    // What throws has not lost its worker.
    auto thrower = pool.submit({.retries = 3}, [] {
      ++Shared::at(3);
      throw std::runtime_error("no");
    });
    const bool thrown = co_await until([&] { return thrower.done(); });
    CHECK(thrown);
    CHECK(shared[3] == 1);
    CHECK(pool.stats().failed == 2);
  });
}

TEST_CASE("a retried task has its arguments again, large ones too") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto sum = [](std::vector<int> numbers) {
      if (++Shared::at(0) < 3) ::_exit(1);
      long total = 0;
      for (const int number : numbers) total += number;
      return total;
    };
    const std::vector<int> numbers(1'000'000, 3);
    const long total = co_await pool.submit({.retries = 2}, sum, numbers);
    CHECK(total == 3'000'000);
  });
}

TEST_CASE("a retried task still runs while the pool closes") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto task = pool.submit({.retries = 2}, die_some_times, 0, 2);
    co_await pool.shutdown();
    REQUIRE(task.done());
    CHECK(task.result() == 3);
  });
}

TEST_CASE("a task that waits for its retry can be cancelled") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto task = pool.submit({.retries = 1000000}, die_some_times, 0, 1 << 30);
    const bool dying = co_await until([&] { return shared[0] >= 3; });
    REQUIRE(dying);
    while (!task.done()) {
      task.kill();
      co_await cofork::sleep(1ms);
    }
    CHECK(task.cancelled());
    const int result = co_await pool.submit(square, 2);
    CHECK(result == 4);
  });
}

TEST_CASE("the pool recovers when the process that forks its workers is killed") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (int round = 0; round < 3; ++round) {
      shared[0] = 0;
      auto stuck = pool.submit(never_end, 0);
      const pid_t pid = co_await pool.submit(own_pid);
      const bool started = co_await until([&] { return shared[0] == 1; });
      REQUIRE(started);
      const pid_t server = parent_of(pid);
      REQUIRE(parent_of(server) == ::getpid());
      ::kill(server, SIGKILL);
      // With its workers; the pool does not know it yet, and none of them begins the next task any more.
      CHECK(support::eventually([&] { return !support::is_running(pid); }));
      auto next = pool.submit(square, 7);
      const int result = co_await next;
      CHECK(result == 49);
      const bool done = co_await until([&] { return stuck.done(); });
      REQUIRE(done);
      CHECK(death_of(stuck).has_value());
    }
  });
}

TEST_CASE("a task does not fail because no worker can be forked for it while another one is busy") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const pid_t server = co_await pool.submit([] { return ::getppid(); });
    co_await workers_of(pool, 1);
    auto busy = pool.submit(wait_at_gate, 0, 1);
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    rlimit limit = {};
    REQUIRE(::prlimit(server, RLIMIT_NOFILE, nullptr, &limit) == 0);
    limit.rlim_cur = 10;  // too few for what it passes on to a worker
    REQUIRE(::prlimit(server, RLIMIT_NOFILE, &limit, nullptr) == 0);
    auto waiting = pool.submit(square, 3);
    const bool tried = co_await until([&] { return waiting.done() || pool.stats().workers_started > 30; });
    REQUIRE(tried);
    CHECK_FALSE(waiting.done());
    shared[1] = 1;
    const bool done = co_await until([&] { return waiting.done(); });
    REQUIRE(done);
    CHECK(waiting.result() == 9);
    co_await busy;
  });
}

TEST_CASE("what a killed worker started is gone with it") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto task = pool.submit([] {
      for (std::size_t i = 0; i < 2; ++i) {
        if (::fork() == 0) {
          if (i == 1) ::setsid();
          Shared::at(i) = ::getpid();
          for (;;) pause_for(1h);
        }
      }
      for (;;) pause_for(1h);
    });
    const bool started = co_await until([&] { return shared[0] != 0 && shared[1] != 0; });
    REQUIRE(started);
    const std::vector<pid_t> pids = co_await workers_of(pool, 1);
    ::kill(pids[0], SIGKILL);
    const bool gone =
        co_await until([&] { return !support::is_running(shared[0]) && !support::is_running(shared[1]); });
    CHECK(gone);
    const bool done = co_await until([&] { return task.done(); });
    CHECK(done);
  });
}

TEST_CASE("no descendant outlives a parent that is killed") {
  Shared shared;
  const auto child = support::in_child([] {
    cofork::run([]() -> Task<> {
      ProcessPoolExecutor pool(2);
      auto stubborn = pool.submit([] {
        for (const int signo : {SIGTERM, SIGHUP, SIGINT}) ::signal(signo, SIG_IGN);
        if (::fork() == 0)
          Shared::at(2) = ::getpid();
        else
          Shared::at(0) = ::getpid();
        for (;;) pause_for(1h);
      });
      const pid_t idle = co_await pool.submit(own_pid);
      Shared::at(1) = idle;
      Shared::at(3) = parent_of(idle);
      while (Shared::at(0) == 0 || Shared::at(2) == 0) co_await cofork::sleep(1ms);
      ::raise(SIGKILL);
    });
  });
  CHECK(child.signal == SIGKILL);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(shared[i] != 0);
    CHECK(support::eventually([&] { return !support::is_running(shared[i]); }));
  }
}

TEST_CASE("A worker that has given a result is one of the pool's worker_pids") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (int round = 0; round < 20; ++round) {
      for (const pid_t pid : pool.worker_pids()) {
        ::kill(pid, SIGKILL);
        // One that gives the result while it dies need not be there any more.
        CHECK(support::eventually([&] { return !support::is_running(pid); }));
      }
      const pid_t worker = co_await pool.submit({.retries = 9}, ::getpid);
      const std::vector<pid_t> pids = pool.worker_pids();
      CHECK(std::find(pids.begin(), pids.end(), worker) != pids.end());
      CHECK(pool.stats().workers == pids.size());
    }
  });
}
