// What a TraceRecorder costs: a map of short tasks with one and without, pair by pair.
#include <algorithm>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/executors/trace_recorder.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdio>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include "compare.hpp"
#include "measurements.hpp"

namespace bench {

namespace {

using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::TraceRecorder;

std::uint64_t spin_10us(std::uint64_t item) {
  const auto end = Clock::now() + std::chrono::microseconds(10);
  while (Clock::now() < end) {
  }
  return item;
}
std::uint64_t spin_100us(std::uint64_t item) {
  const auto end = Clock::now() + std::chrono::microseconds(100);
  while (Clock::now() < end) {
  }
  return item;
}
using Function = std::uint64_t (*)(std::uint64_t);

/// Seconds for the whole map.
Task<double> map_once(ProcessPoolExecutor& pool, Function function, std::uint64_t items) {
  const auto start = Clock::now();
  auto results = pool.map(function, std::views::iota(std::uint64_t{0}, items));
  std::uint64_t sum = 0;
  while (auto value = co_await results.next()) sum += *value;
  if (sum != items * (items - 1) / 2) throw std::runtime_error("wrong results");
  co_return seconds_since(start);
}

/// Both in one process, in turns; which goes first changes.
Task<> measure(Function function, std::string title, std::uint64_t items, int pairs, double aim) {
  const unsigned workers = std::max(1u, cofork::available_parallelism() / 2);
  ProcessPoolExecutor plain({.max_workers = workers}), recorded({.max_workers = workers});
  TraceRecorder trace;
  trace.attach(recorded);
  co_await map_once(plain, function, items / 4);
  co_await map_once(recorded, function, items / 4);
  std::vector<double> ratios, with, without;
  for (int pair = 0; pair < pairs; ++pair) {
    trace.clear();
    double seconds[2];
    for (int turn = 0; turn < 2; ++turn) {
      const bool recording = (turn + pair) % 2 == 1;
      seconds[recording] = co_await map_once(recording ? recorded : plain, function, items);
    }
    if (trace.tasks() != items) throw std::runtime_error("the trace lacks tasks");
    without.push_back(seconds[0]);
    with.push_back(seconds[1]);
    ratios.push_back(seconds[1] / seconds[0]);
  }
  co_await plain.shutdown();
  co_await recorded.shutdown();
  const double ratio = median(ratios);
  std::printf(
      "\n%s, %llu items, %u workers: %.1f ms without a recorder, %.1f ms with one; ratio %.4f (median of %d pairs)\n",
      title.c_str(), static_cast<unsigned long long>(items), workers, median(without) * 1e3, median(with) * 1e3, ratio,
      pairs);
  if (aim != 0) std::printf("    aim: at most %.2f: %s\n", aim, ratio <= aim ? "met" : "NOT met");
}

}  // namespace

void measure_trace_cost(const Settings& settings, const Peer&) {
  const int pairs = settings.quick ? 3 : 5 * settings.rounds;
  const std::uint64_t items = settings.quick ? 1000 : 4000;
  cofork::run(measure(spin_100us, "Map of 100 us tasks", items, pairs, 1.05));
  cofork::run(measure(spin_10us, "Map of 10 us tasks", items * 5, pairs, 0));
}

}  // namespace bench
