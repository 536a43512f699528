// A CPU-bound function over many items, on all cores.
#include <algorithm>
#include <cmath>
#include <cofork/executors/parallelism.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

using cofork::ProcessPoolExecutor;
using cofork::Task;

/// A chain of dependent operations that nothing shortens and that needs no memory.
std::uint64_t spin(std::uint32_t steps) {
  std::uint64_t x = 1;
  for (std::uint32_t i = 0; i != steps; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
  return x;
}

/// What `spin` takes so long for, when nobody disturbs it.
std::uint32_t steps_for(double microseconds) {
  constexpr std::uint32_t trial = 20000;
  double fastest = 1e9;
  volatile std::uint64_t result;
  for (int i = 0; i != 1000; ++i) {
    const auto start = Clock::now();
    result = spin(trial);
    fastest = std::min(fastest, seconds_since(start));
  }
  static_cast<void>(result);
  return static_cast<std::uint32_t>(std::lround(microseconds * 1e-6 / fastest * trial));
}

struct Work {
  std::uint32_t items;
  std::uint32_t steps;

  void check(std::uint64_t sum) const {
    if (sum != spin(steps) * items) throw std::logic_error("the results are wrong");
  }
};

double serial_seconds(const Work& work) {
  const auto start = Clock::now();
  std::uint64_t sum = 0;
  volatile std::uint32_t steps = work.steps;
  for (std::uint32_t i = 0; i != work.items; ++i) sum += spin(steps);
  const double seconds = seconds_since(start);
  work.check(sum);
  return seconds;
}

/// The time includes the processes, which belong to this way of doing it.
double forked_seconds(const Work& work, unsigned workers) {
  const SharedMemory memory(work.items * sizeof(std::uint64_t));
  auto* const results = static_cast<std::uint64_t*>(memory.data());
  const auto start = Clock::now();
  std::vector<Partner> partners;
  for (std::uint64_t worker = 0; worker != workers; ++worker)
    partners.emplace_back([&] {
      volatile std::uint32_t steps = work.steps;
      const std::uint64_t end = work.items * (worker + 1) / workers;
      for (std::uint64_t i = work.items * worker / workers; i != end; ++i) results[i] = spin(steps);
    });
  for (Partner& partner : partners) partner.join();
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i != work.items; ++i) sum += results[i];
  const double seconds = seconds_since(start);
  work.check(sum);
  return seconds;
}

Task<std::uint64_t> sum_of_map(ProcessPoolExecutor& pool, Work work) {
  auto results =
      pool.map(spin, std::views::iota(0u, work.items) | std::views::transform([=](unsigned) { return work.steps; }));
  std::uint64_t sum = 0;
  while (const auto result = co_await results.next()) sum += *result;
  co_return sum;
}

Task<double> mapped_seconds(Work work) {
  ProcessPoolExecutor pool;
  const Work warming{work.items / 50, work.steps};
  warming.check(co_await sum_of_map(pool, warming));
  const auto start = Clock::now();
  const std::uint64_t sum = co_await sum_of_map(pool, work);
  const double seconds = seconds_since(start);
  work.check(sum);
  co_return seconds;
}

/// Python's interpreter needs other steps for the same time, so it is given fewer items and compares with its own.
struct PythonItems {
  unsigned one_by_one;
  unsigned in_chunks;
};

void compare_items(unsigned microseconds, std::uint32_t items, PythonItems python, const Settings& settings,
                   const Peer& peer) {
  if (settings.quick) items /= 10;
  const Work work{items, steps_for(microseconds)};
  const unsigned workers = cofork::available_parallelism();
  double serial = 0;
  const auto efficiency = [&](double seconds) { return serial / workers / seconds * 100; };
  const auto python_run = [&](unsigned python_items, unsigned chunksize) {
    if (settings.quick) python_items /= 10;
    return peer.run("map " + std::to_string(workers) + " " + std::to_string(python_items) + " " +
                    std::to_string(microseconds) + " " + std::to_string(chunksize));
  };
  Comparison comparison;
  comparison.title = "map of a " + std::to_string(microseconds) + " us function over " + std::to_string(items) +
                     " items, " + std::to_string(workers) + " workers; ideal: serial time / workers";
  comparison.unit = "% of ideal";
  comparison.higher_is_better = true;
  comparison.begin_round = [&] { serial = in_child([&] { return serial_seconds(work); }); };
  comparison.contestants = {
      {"fork, static split, shared memory", Contestant::limit,
       [&] { return efficiency(in_child([&] { return forked_seconds(work, workers); })); }},
      {"cofork, pool.map(f, items)",
       Contestant::cofork,
       [&] { return efficiency(in_child([&] { return cofork::run(mapped_seconds(work)); })); },
       {{Aim::value, 95}}},
      {"Python, " + std::to_string(python.one_by_one) + " items, chunksize=1", Contestant::python,
       [&] { return python_run(python.one_by_one, 1); }},
      {"Python, " + std::to_string(python.in_chunks) + " items, chunksize=100", Contestant::other,
       [&] { return python_run(python.in_chunks, 100); }},
  };
  compare(comparison, settings.rounds);
}

}  // namespace

void measure_map(const Settings& settings, const Peer& peer) {
  compare_items(10, 100'000, {5'000, 50'000}, settings, peer);
  compare_items(100, 10'000, {5'000, 10'000}, settings, peer);
}

}  // namespace bench
