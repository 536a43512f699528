// No-ops on one worker, with 1024 outstanding.
#include <algorithm>
#include <array>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

constexpr std::uint64_t window = 1024;

void noop() {}

double thousands_per_second(std::uint64_t tasks, Clock::time_point start) {
  return static_cast<double>(tasks) / seconds_since(start) / 1e3;
}

Task<> submit_in_turn(ProcessPoolExecutor& pool, std::uint64_t times) {
  for (std::uint64_t i = 0; i != times; ++i) co_await pool.submit(noop);
}

Task<> in_coroutines(ProcessPoolExecutor& pool, std::uint64_t times) {
  std::vector<Task<>> coroutines;
  for (std::uint64_t i = 0; i != window; ++i) coroutines.push_back(submit_in_turn(pool, times));
  co_await cofork::gather(std::move(coroutines));
}

Task<> in_batches(ProcessPoolExecutor& pool, std::uint64_t times) {
  for (std::uint64_t i = 0; i != times; ++i) {
    std::vector<Future<void>> batch;
    batch.reserve(window);
    while (batch.size() != window) batch.push_back(pool.submit(noop));
    co_await cofork::gather(std::move(batch));
  }
}

using Way = Task<> (*)(ProcessPoolExecutor&, std::uint64_t times);

Task<double> pool_rate(Way way, std::uint64_t tasks) {
  ProcessPoolExecutor pool(1);
  co_await way(pool, 16);
  const auto start = Clock::now();
  co_await way(pool, tasks / window);
  co_return thousands_per_second(tasks, start);
}

/// As large as the window is, so that it never overflows.
struct Ring {
  struct alignas(64) Slot {
    void (*function)() = nullptr;
    std::uint64_t number = 0;
  };
  alignas(64) std::atomic<std::uint64_t> published{0};
  alignas(64) Doorbell reader;
  std::array<Slot, window> slots;

  void publish(std::uint64_t count) {
    published.store(count, std::memory_order_release);
    reader.ring();
  }
  /// How many are published, when they are more than `seen`.
  std::uint64_t wait_for_more_than(std::uint64_t seen) {
    std::uint64_t count = seen;
    reader.wait([&] { return (count = published.load(std::memory_order_acquire)) != seen; });
    return count;
  }
  Slot& slot(std::uint64_t i) { return slots[i % window]; }
};

struct Rings {
  Ring tasks, results;
};

[[noreturn]] void serve(Rings& rings) {
  for (std::uint64_t done = 0;;) {
    const std::uint64_t published = rings.tasks.wait_for_more_than(done);
    for (; done != published; ++done) {
      const Ring::Slot& task = rings.tasks.slot(done);
      task.function();
      rings.results.slot(done).number = task.number;
    }
    rings.results.publish(done);
  }
}

double raw_rate(std::uint64_t tasks) {
  const Shared<Rings> rings;
  const Partner partner([&] { serve(*rings); });
  std::uint64_t sent = 0, received = 0;
  const auto run = [&](std::uint64_t until) {
    while (received != until) {
      for (const std::uint64_t room = std::min(until, received + window); sent != room; ++sent)
        rings->tasks.slot(sent) = {noop, sent};
      rings->tasks.publish(sent);
      for (const std::uint64_t published = rings->results.wait_for_more_than(received); received != published;
           ++received)
        if (rings->results.slot(received).number != received) throw std::logic_error("a result is out of its order");
    }
  };
  run(16 * window);
  const auto start = Clock::now();
  run(received + tasks);
  return thousands_per_second(tasks, start);
}

}  // namespace

void measure_throughput(const Settings& settings, const Peer& peer) {
  const std::uint64_t scale = settings.quick ? 1 : 10;
  const std::uint64_t pool_tasks = scale * 64 * window, raw_tasks = scale * 1024 * window;
  const auto pool_run = [=](Way way) { return in_child([=] { return cofork::run(pool_rate(way, pool_tasks)); }); };
  const std::vector<Aim> aims{{Aim::value, 2000}, {Aim::times_peer, 200}};
  Comparison comparison;
  comparison.title = "No-ops on one worker, 1024 outstanding, unpinned";
  comparison.unit = "k tasks/s";
  comparison.higher_is_better = true;
  comparison.contestants = {
      {"shared-memory ring, published in batches", Contestant::limit,
       [=] { return in_child([=] { return raw_rate(raw_tasks); }); }},
      {"cofork, 1024 coroutines", Contestant::cofork, [=] { return pool_run(in_coroutines); }, aims},
      {"cofork, 1024 submitted, then gathered", Contestant::cofork, [=] { return pool_run(in_batches); }, aims},
      {"Python, window of 1024", Contestant::python,
       [=, &peer] { return peer.run("throughput " + std::to_string(scale * window) + " " + std::to_string(window)); }},
  };
  compare(comparison, settings.rounds);
}

}  // namespace bench
