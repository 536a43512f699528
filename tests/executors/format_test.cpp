#include <cofork/executors/format.hpp>
#include <cofork/runtime/wait.hpp>
#include <csignal>

#include "pool_harness.hpp"

using namespace pool_test;
using cofork::PoolStats;
using cofork::ProcessPoolExecutor;
using cofork::run;
using cofork::Task;

TEST_CASE("the state of a pool can be printed", "[format]") {
  PoolStats stats;
  stats.submitted = 120;
  stats.completed = 100;
  stats.failed = 3;
  stats.cancelled = 1;
  stats.workers_started = 4;
  stats.workers_died = 1;
  stats.pending = 14;
  stats.running = 2;
  stats.workers = 3;
  const std::string text =
      "3 workers, 2 running, 14 pending; 120 submitted: 100 completed, 3 failed, 1 cancelled; 4 workers started, 1 "
      "died";
  CHECK(fmt::format("{}", stats) == text);
  CHECK(fmt::format("{:>120}", stats) == std::string(120 - text.size(), ' ') + text);
  run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    co_await pool.submit(square, 2);
    CHECK(fmt::format("{}", pool.stats()).find("1 submitted: 1 completed") != std::string::npos);
    co_await pool.shutdown();
  }());
}

TEST_CASE("what a task used, a progress and a worker's death can be printed", "[format]") {
  cofork::TaskUsage usage;
  usage.pid = 4711;
  usage.queued = 80us;
  usage.wall = 4200us;
  usage.user = 3900us;
  usage.system = 100us;
  usage.max_rss = 12 << 20;
  const std::string used =
      "4.2 ms wall, 3.9 ms user, 100 \u00b5s system, 12.0 MiB at most, queued for 80 \u00b5s, in process 4711";
  CHECK(fmt::format("{}", usage) == used);
  const cofork::WorkerDied silent("worker 1 was killed by SIGSEGV", 1, -11, "parse");
  CHECK(fmt::format("{}", silent) == "worker 1 was killed by SIGSEGV");
  const cofork::WorkerDied known("worker 4711 was killed by SIGSEGV", 4711, -11, "parse", usage);
  CHECK(fmt::format("{}", known) == "worker 4711 was killed by SIGSEGV (" + used + ")");
  cofork::ProgressReport report;
  report.done = 450;
  report.failed = 3;
  report.total = 1000;
  report.rate = 312.4;
  report.left = 1800ms;
  CHECK(fmt::format("{}", report) == "450 of 1000, 3 failed, 312/s, 1.8 s left");
}
