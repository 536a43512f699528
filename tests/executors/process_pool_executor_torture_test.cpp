// Workers are killed and stopped at random while much is under way. COFORK_TORTURE=60 runs each of them for 60 seconds.
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <random>
#include <ranges>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using Clock = std::chrono::steady_clock;

namespace {

std::chrono::milliseconds duration() {
  const char* seconds = std::getenv("COFORK_TORTURE");
  return seconds ? std::chrono::seconds(std::atoi(seconds)) : std::chrono::milliseconds(3000);
}

std::mt19937& generator() {
  static std::mt19937 random = [] {
    const char* given = std::getenv("COFORK_TORTURE_SEED");
    const unsigned seed = given ? static_cast<unsigned>(std::atoi(given)) : std::random_device()();
    std::fprintf(stderr, "torture: COFORK_TORTURE_SEED=%u\n", seed);
    return std::mt19937(seed);
  }();
  return random;
}
int random_below(int end) { return static_cast<int>(generator()() % static_cast<unsigned>(end)); }

struct Damage {
  int killed = 0, stopped = 0, servers = 0;
};

// Workers that were stopped go on in the end, however that comes: a task that one has begun would never end otherwise.
class StoppedWorkers {
 public:
  StoppedWorkers() = default;
  StoppedWorkers(const StoppedWorkers&) = delete;
  ~StoppedWorkers() { resume(); }

  void stop(pid_t pid) {
    ::kill(pid, SIGSTOP);
    stopped_.push_back(pid);
  }
  void resume() {
    for (const pid_t pid : stopped_)
      ::kill(pid, SIGCONT);  // which does no harm to whoever else may have the pid by now
    stopped_.clear();
  }

 private:
  std::vector<pid_t> stopped_;
};

// Kills and stops workers until it is cancelled; it does not kill again before the pool has completed something, so
// that where workers are slow to start there is an end to it all.
Task<> torment(ProcessPoolExecutor& pool, Damage& damage, bool servers_too) {
  StoppedWorkers stopped;
  std::optional<std::uint64_t> completed;  // at the last kill
  for (;;) {
    co_await cofork::sleep(std::chrono::microseconds(500 + random_below(6000)));
    stopped.resume();
    const std::vector<pid_t> pids = pool.worker_pids();
    if (pids.empty()) continue;
    const pid_t victim = pids[static_cast<std::size_t>(random_below(static_cast<int>(pids.size())))];
    int what = random_below(100);
    if (what < 63 && std::exchange(completed, pool.stats().completed) == pool.stats().completed) what = 100;
    if (what < 60) {
      ++damage.killed;
      ::kill(victim, SIGKILL);
    } else if (servers_too && what < 63) {
      const pid_t server = parent_of(victim);
      if (parent_of(server) != ::getpid()) continue;
      ++damage.servers;
      ::kill(server, SIGKILL);
    } else {
      ++damage.stopped;
      stopped.stop(victim);
    }
  }
}

// Counts its run in the slot, and takes a while now and then.
long work(int slot, std::vector<int> padding) {
  ++Shared::at(static_cast<std::size_t>(slot));
  if (slot % 50 == 0) pause_for(2ms);
  if (slot % 7 == 0) pause_for(100us);
  return slot * 3L + static_cast<long>(padding.size());
}

// Cancels it and waits for its end: a nap that is over by then is followed by one more look at the pool.
Task<> stop(Future<void> tormentor) {
  tormentor.cancel();
  try {
    co_await std::move(tormentor);
  } catch (const cofork::CancelledError&) {
  }
}

constexpr std::size_t slots = 10'000'000;  // memory that nobody touches costs nothing

}  // namespace

TEST_CASE("tasks are neither lost nor run twice while workers are killed and stopped", "[limit:180]") {
  Shared shared(slots);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(3);
    Damage damage;
    auto tormentor = cofork::spawn(torment(pool, damage, true));
    const auto end = Clock::now() + duration();
    std::size_t next = 0, died = 0, wrong = 0, cancelled = 0;
    while ((Clock::now() < end || next < 600) && next + 1000 < slots) {
      std::vector<Future<long>> futures;
      const std::size_t first = next;
      for (int i = 0; i < 300; ++i, ++next)
        futures.push_back(pool.submit(work, static_cast<int>(next),
                                      std::vector<int>(static_cast<std::size_t>(next % 90 == 0 ? 50'000 : next % 11))));
      for (int i = 0; i < 10; ++i) {
        auto& victim = futures[static_cast<std::size_t>(random_below(300))];
        if (random_below(2) == 0)
          victim.cancel();
        else
          victim.kill();
      }
      for (std::size_t i = 0; i < futures.size(); ++i) {
        const std::size_t slot = first + i;
        try {
          const long result = co_await std::move(futures[i]);
          wrong += result != static_cast<long>(slot * 3 + (slot % 90 == 0 ? 50'000 : slot % 11)) || shared[slot] != 1;
        } catch (const cofork::WorkerDied&) {
          ++died;
          wrong += shared[slot] > 1;
        } catch (const cofork::CancelledError&) {
          ++cancelled;
          wrong += shared[slot] > 1;
        }
      }
    }
    co_await stop(std::move(tormentor));
    std::fprintf(stderr,
                 "torture: %zu tasks, %zu died, %zu cancelled; workers killed %d, stopped %d; servers killed %d\n",
                 next, died, cancelled, damage.killed, damage.stopped, damage.servers);
    CHECK(wrong == 0);
    const int alive = co_await pool.submit({.retries = 100}, square, 4);
    CHECK(alive == 16);
  });
}

TEST_CASE("tasks with retries all succeed while workers are killed and stopped", "[limit:180]") {
  Shared shared(slots);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 3, .max_tasks_per_child = 200});
    Damage damage;
    auto tormentor = cofork::spawn(torment(pool, damage, true));
    const auto end = Clock::now() + duration();
    std::size_t next = 0, wrong = 0;
    while (Clock::now() < end && next + 1000 < slots) {
      std::vector<Future<long>> futures;
      const std::size_t first = next;
      for (int i = 0; i < 200; ++i, ++next)
        futures.push_back(pool.submit({.retries = 1000}, work, static_cast<int>(next), std::vector<int>(next % 13)));
      const std::vector<long> results = co_await cofork::gather(std::move(futures));
      for (std::size_t i = 0; i < results.size(); ++i)
        wrong += results[i] != static_cast<long>((first + i) * 3 + (first + i) % 13) || shared[first + i] < 1;
    }
    co_await stop(std::move(tormentor));
    std::fprintf(stderr, "torture: %zu retried tasks; workers killed %d, stopped %d; servers killed %d\n", next,
                 damage.killed, damage.stopped, damage.servers);
    CHECK(wrong == 0);
  });
}

TEST_CASE("a map's items are neither lost nor run twice while workers are killed and stopped", "[limit:180]") {
  Shared shared(slots);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(3);
    Damage damage;
    auto tormentor = cofork::spawn(torment(pool, damage, false));
    const auto item = [](int slot) { return work(slot, {}); };
    const auto end = Clock::now() + duration();
    int next = 0;
    std::size_t died = 0, wrong = 0, maps = 0;
    while (Clock::now() < end && static_cast<std::size_t>(next) + 10'000 < slots) {
      const int first = next, count = 300 + random_below(2000);
      next += count;
      const std::size_t chunksizes[] = {0, 1, 3, 20, 500};
      auto stream = pool.map({.chunksize = chunksizes[random_below(5)], .item_timeout = 60s}, item,
                             std::views::iota(first, next));
      ++maps;
      for (int slot = first; slot < next; ++slot) {
        try {
          const std::optional<long> result = co_await stream.next();
          wrong += result != slot * 3L || shared[static_cast<std::size_t>(slot)] != 1;
        } catch (const cofork::WorkerDied&) {
          ++died;
          wrong += shared[static_cast<std::size_t>(slot)] > 1;
        }
      }
      const std::optional<long> over = co_await stream.next();
      wrong += over.has_value();
    }
    co_await stop(std::move(tormentor));
    std::fprintf(stderr, "torture: %d items of %zu maps, %zu died; workers killed %d, stopped %d\n", next, maps, died,
                 damage.killed, damage.stopped);
    CHECK(wrong == 0);
  });
}

TEST_CASE("pools are made and dropped at any moment", "[limit:180]") {
  Shared shared(64);
  const auto end = Clock::now() + duration() / 3;
  int pools = 0;
  while (Clock::now() < end) {
    ++pools;
    cofork::run([&]() -> Task<> {
      std::vector<Future<int>> futures;
      {
        ProcessPoolExecutor pool({.max_workers = 3, .grace = 1ms});
        for (int i = 0; i < 20; ++i)
          futures.push_back(pool.submit(
              [](int x) {
                pause_for(std::chrono::microseconds(x * 50));
                return x;
              },
              i));
        auto stream = pool.map(square, std::views::iota(0));
        const auto nap = std::chrono::microseconds(random_below(5000));
        if (random_below(4) != 0) co_await cofork::sleep(nap);
        const std::vector<pid_t> pids = pool.worker_pids();
        if (!pids.empty() && random_below(3) == 0) ::kill(pids.front(), SIGKILL);
        const int way = random_below(5);
        if (way == 0) pool.kill_workers();
        if (way == 1) pool.terminate_workers();
        if (way == 2) co_await pool.shutdown({.wait = random_below(2) == 0, .cancel_futures = true});
        if (way == 3) co_await pool.shutdown();
      }
      for (auto& future : futures) CHECK(future.done());
    });
  }
  std::fprintf(stderr, "torture: %d pools\n", pools);
}
