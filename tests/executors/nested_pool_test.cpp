#include <cofork/executors/parallelism.hpp>
#include <cofork/executors/process.hpp>
#include <cofork/executors/process_info.hpp>
#include <cofork/runtime/gather.hpp>
#include <csignal>
#include <numeric>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

int sum_of_squares(int first, int count) {
  return cofork::run([=]() -> Task<int> {
    ProcessPoolExecutor pool(2);
    const std::vector<int> squares = co_await pool.map(square, std::views::iota(first, first + count));
    co_return std::accumulate(squares.begin(), squares.end(), 0);
  });
}

Task<int> sum_of_squares_as_task(int first, int count) {
  ProcessPoolExecutor pool(2);
  const std::vector<int> squares = co_await pool.map(square, std::views::iota(first, first + count));
  co_return std::accumulate(squares.begin(), squares.end(), 0);
}

std::string why_not_deeper(int levels) {
  return cofork::run([=]() -> Task<std::string> {
    ProcessPoolExecutor pool(1);
    if (levels > 1) co_return co_await pool.submit(why_not_deeper, levels - 1);
    try {
      co_return co_await pool.submit([] {
        ProcessPoolExecutor one_more(1);
        return cofork::run([&]() -> Task<std::string> {
          try {
            co_await one_more.submit(square, 1);
          } catch (const cofork::Error& error) {
            co_return error.what();
          }
          co_return "it worked";
        });
      });
    } catch (const cofork::Error& error) {
      co_return error.what();
    }
  });
}

unsigned workers_by_default() { return ProcessPoolExecutor().max_workers(); }

// Of a pool with so many workers, and of one in it.
std::pair<unsigned, unsigned> nested_defaults(unsigned workers) {
  return cofork::run([=]() -> Task<std::pair<unsigned, unsigned>> {
    ProcessPoolExecutor pool(workers);
    const unsigned below = co_await pool.submit(workers_by_default);
    co_return std::pair(pool.max_workers(), below);
  });
}

std::vector<std::string> who() {
  const auto parent = cofork::parent_process();
  return {cofork::current_process().name, std::to_string(cofork::current_process().pid), parent ? parent->name : "none",
          parent ? std::to_string(parent->pid) : "none"};
}

std::vector<std::string> who_below() {
  return cofork::run([]() -> Task<std::vector<std::string>> {
    ProcessPoolExecutor pool(1);
    co_return co_await pool.submit(who);
  });
}

int start_pool_and_stay(int counter) {
  return cofork::run([=]() -> Task<int> {
    ProcessPoolExecutor pool(2);
    Future<int> a = pool.submit(never_end, counter);
    Future<int> b = pool.submit(never_end, counter);
    co_await a;
    co_return co_await b;
  });
}

}  // namespace

TEST_CASE("pools work inside of pools") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 4; ++i) futures.push_back(pool.submit(sum_of_squares, i * 100, 100));
    int total = 0;
    for (auto& future : futures) total += co_await future;
    CHECK(total == 399 * 400 * 799 / 6);
  });
}

TEST_CASE("pools work inside of tasks that are coroutines") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const int total = co_await pool.submit(sum_of_squares_as_task, 0, 100);
    CHECK(total == 99 * 100 * 199 / 6);
  });
}

TEST_CASE("pools work inside of a Process, in the workers of which there is a Process", "[limit:120]") {
  const Shared shared;
  cofork::run([]() -> Task<> {
    cofork::Process process([] {
      cofork::run([]() -> Task<> {
        ProcessPoolExecutor pool(2);
        co_await pool.submit([] {
          cofork::Process inner([] { Shared::at(0) = sum_of_squares(0, 10); });
          inner.start();
          inner.blocking_join();
        });
      });
    });
    process.start();
    co_await process.join();
    CHECK(process.exitcode() == 0);
  });
  CHECK(shared[0] == 285);
}

TEST_CASE("pools are ten deep at most", "[limit:120]") {
  const std::string why = why_not_deeper(10);
  CHECK(why.find("nested too deeply") != std::string::npos);
  CHECK(why_not_deeper(9) == "it worked");
}

TEST_CASE("a pool in a pool gets the worker's share of the CPUs unless it is told") {
  const unsigned cpus = cofork::available_parallelism();
  CHECK(nested_defaults(1) == std::pair(1u, cpus));
  CHECK(nested_defaults(2) == std::pair(2u, std::max(1u, cpus / 2)));
  CHECK(nested_defaults(cpus) == std::pair(cpus, 1u));
  CHECK(nested_defaults(3 * cpus) == std::pair(3 * cpus, 1u));
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(cpus);
    const std::pair<unsigned, unsigned> told = co_await pool.submit(nested_defaults, 3u);
    CHECK(told == std::pair(3u, 1u));
  });
}

TEST_CASE("a pool's worker says who it is") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const pid_t pid = co_await pool.submit(own_pid);
    const std::vector<std::string> worker = co_await pool.submit(who);
    const std::string here = std::to_string(::getpid());
    CHECK(worker == std::vector<std::string>{"ForkPoolWorker-1", std::to_string(pid), "MainProcess", here});
    const std::vector<std::string> below = co_await pool.submit(who_below);
    CHECK(below[0] == "ForkPoolWorker-1:1");
    CHECK(below[2] == "ForkPoolWorker-1");
    CHECK(below[3] == std::to_string(pid));
    const std::string child = co_await pool.submit([] { return cofork::Process([] {}).name(); });
    CHECK(child == "Process-1:1");
  });
}

TEST_CASE("the workers of a nested pool end with the worker that made it") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto outer = pool.submit(start_pool_and_stay, 0);
    const bool inside = co_await until([&] { return shared[0] == 2; });
    CHECK(inside);
    const std::vector<pid_t> workers = co_await workers_of(pool, 1);
    ::kill(workers.front(), SIGKILL);
    CHECK_THROWS_AS(co_await outer, cofork::WorkerDied);
    const int four = co_await pool.submit(square, 2);
    CHECK(four == 4);
  });
}

TEST_CASE("the destructor of a pool takes nested ones with it") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto outer = pool.submit(start_pool_and_stay, 0);
    const bool inside = co_await until([&] { return shared[0] == 2; });
    CHECK(inside);
  });
}

TEST_CASE("a worker of a nested pool that dies is a matter of that pool") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const std::string what = co_await pool.submit([] {
      return cofork::run([]() -> Task<std::string> {
        ProcessPoolExecutor nested(1);
        auto future = nested.submit([] { ::raise(SIGKILL); });
        const bool ended = co_await until([&] { return future.done(); });
        co_return ended ? error_of<cofork::WorkerDied>(future) : "it did not end";
      });
    });
    CHECK(what.find("SIGKILL") != std::string::npos);
    CHECK(pool.stats().workers_died == 0);
  });
}
