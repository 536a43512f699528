// A function over large data that the parent has in memory, on all cores.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cofork/executors/fork_executor.hpp>
#include <cofork/executors/parallelism.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef BENCHMARK_TBB
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#endif

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

using cofork::Task;

/// Blocks of words, each of which is an item.
struct Data {
  Data(std::size_t bytes, std::size_t item_count, unsigned steps_for_each_word)
      : words(bytes / sizeof(std::uint64_t)), items(item_count), steps(steps_for_each_word) {
    std::iota(words.begin(), words.end(), std::uint64_t{1});
  }

  /// A chain of dependent operations over every word of the block.
  std::uint64_t score(std::size_t item) const {
    const std::size_t size = words.size() / items;
    std::uint64_t x = item;
    for (const std::uint64_t* word = words.data() + item * size; word != words.data() + (item + 1) * size; ++word) {
      x ^= *word;
      for (unsigned step = 0; step != steps; ++step) x = x * 6364136223846793005u + 1442695040888963407u;
    }
    return x;
  }

  std::vector<std::uint64_t> words;
  std::size_t items;
  unsigned steps;
};

double serial_seconds(const Data& data) {
  const auto start = Clock::now();
  std::uint64_t sum = 0;
  for (std::size_t item = 0; item != data.items; ++item) sum += data.score(item);
  const double seconds = seconds_since(start);
  if (sum == 0) throw std::logic_error("the results are wrong");
  return seconds;
}

/// One child for each core; they share a counter, and write to memory that the parent reads.
double forked_seconds(const Data& data, unsigned workers, std::uint64_t& sum) {
  const auto start = Clock::now();
  const Shared<std::atomic<std::size_t>> next;
  const SharedMemory memory(data.items * sizeof(std::uint64_t));
  auto* const results = static_cast<std::uint64_t*>(memory.data());
  std::vector<Partner> partners;
  for (unsigned worker = 0; worker != workers; ++worker)
    partners.emplace_back([&] {
      for (std::size_t item = (*next)++; item < data.items; item = (*next)++) results[item] = data.score(item);
    });
  for (Partner& partner : partners) partner.join();
  sum = std::accumulate(results, results + data.items, std::uint64_t{0});
  return seconds_since(start);
}

Task<double> mapped_seconds(const Data& data, std::uint64_t& sum) {
  const auto start = Clock::now();
  cofork::ForkExecutor executor;
  auto scores =
      executor.map([&](std::size_t item) { return data.score(item); }, std::views::iota(std::size_t{0}, data.items));
  while (const auto score = co_await scores.next()) sum += *score;
  co_await executor.shutdown();
  co_return seconds_since(start);
}

std::optional<double> threaded_seconds([[maybe_unused]] const Data& data, [[maybe_unused]] unsigned workers,
                                       [[maybe_unused]] std::uint64_t& sum) {
#ifdef BENCHMARK_TBB
  const auto start = Clock::now();
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, workers);
  std::vector<std::uint64_t> results(data.items);
  tbb::parallel_for(std::size_t{0}, data.items, [&](std::size_t item) { results[item] = data.score(item); });
  sum = std::accumulate(results.begin(), results.end(), std::uint64_t{0});
  return seconds_since(start);
#else
  return std::nullopt;
#endif
}

/// So many operations for each word that all of it takes about so long on one core.
unsigned steps_for(double seconds, std::size_t bytes, std::size_t items) {
  return static_cast<unsigned>(in_child([&] {
    constexpr unsigned trial = 8;
    const double taken = serial_seconds(Data(bytes / 16, items / 16, trial)) * 16;
    return std::max(1.0, std::round(seconds / taken * trial));
  }));
}

}  // namespace

void measure_snapshot_map(const Settings& settings, const Peer&) {
  const unsigned workers = cofork::available_parallelism();
  const std::size_t bytes = std::size_t{1} << (settings.quick ? 26 : 30);
  constexpr std::size_t items = 2048;
  for (const double seconds : {1.0, static_cast<double>(workers)}) {
    const unsigned steps = steps_for(settings.quick ? seconds / 10 : seconds, bytes, items);
    // In a process of its own, with the data made before the clock starts.
    const auto measured = [&](auto measure) {
      return in_child([&] {
        const Data data(bytes, items, steps);
        std::uint64_t sum = 0;
        const double taken = measure(data, sum);
        std::uint64_t right = 0;
        if (settings.quick)
          for (std::size_t item = 0; item != items; ++item) right += data.score(item);
        if (settings.quick && sum != right) throw std::logic_error("the results are wrong");
        return taken * 1e3;
      });
    };
    Comparison comparison;
    comparison.title = "a function over " + std::to_string(bytes >> 20) + " MiB of the parent's memory, " +
                       std::to_string(items) + " items, " + std::to_string(workers) + " workers, " +
                       std::to_string(static_cast<int>(seconds)) + " s of work in all";
    comparison.unit = "ms";
    comparison.contestants = {
        {"fork, shared counter, shared memory", Contestant::limit,
         [&] {
           return measured([&](const Data& data, std::uint64_t& sum) { return forked_seconds(data, workers, sum); });
         }},
        {"cofork, ForkExecutor().map(f, indices)",
         Contestant::cofork,
         [&] {
           return measured([](const Data& data, std::uint64_t& sum) { return cofork::run(mapped_seconds(data, sum)); });
         },
         {{Aim::times_limit, 1.05}, {Aim::times_peer, 1 / 1.05}}},
        {"TBB, parallel_for", Contestant::peer,
         [&]() -> std::optional<double> {
#ifndef BENCHMARK_TBB
           return std::nullopt;
#endif
           return measured(
               [&](const Data& data, std::uint64_t& sum) { return threaded_seconds(data, workers, sum).value(); });
         }},
    };
    compare(comparison, settings.rounds);
  }
}

}  // namespace bench
