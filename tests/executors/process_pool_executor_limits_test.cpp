#include <algorithm>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/wait.hpp>
#include <map>
#include <ranges>
#include <set>
#include <vector>

#include "executors/pool_harness.hpp"
#include "support/stop.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

// How many tasks each pid executed.
std::map<pid_t, int> count(const std::vector<pid_t>& pids) {
  std::map<pid_t, int> tasks;
  for (const pid_t pid : pids) ++tasks[pid];
  return tasks;
}

int most(const std::map<pid_t, int>& tasks) {
  int result = 0;
  for (const auto& [pid, number] : tasks) result = std::max(result, number);
  return result;
}

}  // namespace

TEST_CASE("a worker is replaced after max_tasks_per_child tasks, with a backlog") {
  for (const unsigned limit : {1u, 3u, 10u}) {
    for (const unsigned workers : {1u, 3u}) {
      INFO("limit " << limit << ", workers " << workers);
      cofork::run([&]() -> Task<> {
        ProcessPoolExecutor pool({.max_workers = workers, .max_tasks_per_child = limit});
        std::vector<Future<pid_t>> futures;
        for (int i = 0; i < 30; ++i) futures.push_back(pool.submit(own_pid));
        const std::vector<pid_t> pids = co_await cofork::gather(std::move(futures));
        CHECK(most(count(pids)) <= static_cast<int>(limit));
        CHECK(pool.stats().workers_died == 0);
        co_await pool.shutdown();
        CHECK(pool.worker_pids().empty());
      });
    }
  }
}

TEST_CASE("max_tasks_per_child counts the items of a map, whatever its chunks") {
  for (const std::size_t chunksize : {0, 1, 4, 50}) {
    cofork::run([&]() -> Task<> {
      ProcessPoolExecutor pool({.max_workers = 2, .max_tasks_per_child = 6});
      const std::vector<pid_t> pids = co_await pool.map(
          {.chunksize = chunksize}, [](int) { return own_pid(); }, std::views::iota(0, 60));
      CHECK(pids.size() == 60);
      CHECK(most(count(pids)) <= 6);
    });
  }
}

TEST_CASE("chunks that are moved keep to max_tasks_per_child") {
  Shared shared(128);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .max_tasks_per_child = 10});
    const auto die_at = [](int x) {
      ++Shared::at(static_cast<std::size_t>(x));
      if (x % 10 == 3) ::raise(SIGKILL);
      return own_pid();
    };
    std::map<pid_t, int> tasks;
    auto stream = pool.map({.chunksize = 10}, die_at, std::views::iota(0, 100));
    int died = 0;
    for (int i = 0; i < 100; ++i) {
      try {
        const std::optional<pid_t> pid = co_await stream.next();
        if (pid) ++tasks[*pid];
      } catch (const cofork::WorkerDied&) {
        ++died;
      }
    }
    CHECK(died == 10);
    CHECK(most(tasks) <= 10);
  });
  for (std::size_t i = 0; i < 100; ++i) CHECK(shared[i] == 1);
}

TEST_CASE("what a worker was sent as its last tasks goes to another one if it stands still") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .max_tasks_per_child = 4, .prestart = true});
    const std::vector<pid_t> workers = co_await workers_of(pool, 1);
    support::stop(workers[0]);
    const std::vector<int> squares =
        co_await pool.map({.chunksize = 4, .timeout = 45s * support::slowdown}, square, std::views::iota(0, 4));
    CHECK(squares == std::vector<int>{0, 1, 4, 9});
  });
}

TEST_CASE("an initializer is no task of its worker") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .max_tasks_per_child = 2}, [] { ++Shared::at(0); });
    std::set<pid_t> pids;
    // One by one: from a worker that stands still for a while those behind are taken back, and it leaves early.
    for (int i = 0; i < 10; ++i) {
      const pid_t pid = co_await pool.submit(own_pid);
      pids.insert(pid);
    }
    CHECK(pids.size() == 5);
    CHECK(shared[0] == 5);
    CHECK(pool.stats().submitted == 10);
    CHECK(pool.stats().completed == 10);
  });
}

TEST_CASE("a task that leaves by _exit as the last of its worker is lost like any other") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .max_tasks_per_child = 1});
    auto task = pool.submit([] { ::_exit(0); });
    const bool done = co_await until([&] { return task.done(); });
    REQUIRE(done);
    CHECK(error_of<cofork::WorkerDied>(task).find("exited with status 0") != std::string::npos);
    const int result = co_await pool.submit(square, 2);
    CHECK(result == 4);
  });
}

TEST_CASE("workers are started when they are needed and no more than that") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(8);
    CHECK(pool.max_workers() == 8);
    for (int i = 0; i < 5; ++i) co_await pool.submit(square, i);
    CHECK(pool.stats().workers_started == 1);
    auto first = pool.submit(wait_at_gate, 0, 1);
    auto second = pool.submit(wait_at_gate, 0, 1);
    const bool both = co_await until([&] { return shared[0] == 2; });
    CHECK(both);
    CHECK(pool.stats().workers_started == 2);
    shared[1] = 1;
    co_await first;
    co_await second;
    ProcessPoolExecutor by_default;
    CHECK(by_default.max_workers() == cofork::available_parallelism());
  });
}

TEST_CASE("a slow initializer does not make a single task start every worker") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 8}, [] { pause_for(100ms); });
    const int result = co_await pool.submit(square, 5);
    CHECK(result == 25);
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("the workers' name is the pool's") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .name = "a-rather-long-name"});
    const std::string name = co_await pool.submit([] {
      std::string text(64, '\0');
      if (std::FILE* file = std::fopen("/proc/self/comm", "re")) {
        text.resize(std::fread(text.data(), 1, text.size(), file));
        std::fclose(file);
      }
      return text;
    });
    CHECK(name == "a-rather-long-n\n");
  });
}
