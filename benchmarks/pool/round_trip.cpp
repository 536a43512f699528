// A no-op there and back, one at a time.
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <cstdio>
#include <string>

#include "batches.hpp"
#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

using cofork::ProcessPoolExecutor;
using cofork::Task;

/// CPUs of the two ends; negative: any.
struct Placement {
  std::string name;
  int parent;
  int worker;
};

void noop() {}

Task<double> pool_trips(Placement placement, double seconds) {
  const bool together = placement.parent == placement.worker;
  if (together) pin(placement.parent);
  ProcessPoolExecutor pool(1);
  co_await pool.submit(pin, placement.worker);
  if (!together) pin(placement.parent);
  Batches batches(seconds);
  while (batches.next())
    for (int i = 0; i != Batches::trips; ++i) co_await pool.submit(noop);
  co_return batches.microseconds_each();
}

/// A single slot in each direction, on a cache line of its own; the sequence number says that it is filled.
struct alignas(64) Slot {
  std::atomic<std::uint32_t> sequence{0};
  void (*function)() = nullptr;
};

struct Mailbox {
  Slot task, result;
  alignas(64) Doorbell worker;
  alignas(64) Doorbell parent;
};

double raw_trips(const Placement& placement, double seconds) {
  const Shared<Mailbox> mailbox;
  const Partner partner([&] {
    pin(placement.worker);
    for (std::uint32_t trip = 1;; ++trip) {
      mailbox->worker.wait([&] { return mailbox->task.sequence.load(std::memory_order_acquire) == trip; });
      mailbox->task.function();
      mailbox->result.sequence.store(trip, std::memory_order_release);
      mailbox->parent.ring();
    }
  });
  pin(placement.parent);
  Batches batches(seconds);
  std::uint32_t trip = 0;
  while (batches.next()) {
    for (int i = 0; i != Batches::trips; ++i) {
      ++trip;
      mailbox->task.function = noop;
      mailbox->task.sequence.store(trip, std::memory_order_release);
      mailbox->worker.ring();
      mailbox->parent.wait([&] { return mailbox->result.sequence.load(std::memory_order_acquire) == trip; });
    }
  }
  return batches.microseconds_each();
}

void compare_placed(const Placement& placement, const Settings& settings, const Peer& peer) {
  const double seconds = settings.quick ? 0.05 : 0.4;
  Comparison comparison;
  comparison.title = "Round trip of a no-op, one outstanding, " + placement.name;
  comparison.unit = "us";
  comparison.contestants = {
      {"shared-memory slot, yields, then a futex", Contestant::limit,
       [=] { return in_child([=] { return raw_trips(placement, seconds); }); }},
      {"cofork, co_await pool.submit(f)",
       Contestant::cofork,
       [=] { return in_child([=] { return cofork::run(pool_trips(placement, seconds)); }); },
       {{Aim::times_limit, 2}, {Aim::times_peer, 30}}},
      {"Python, pool.submit(f).result()", Contestant::python,
       [=, &peer] {
         return peer.run("round_trip " + std::to_string(placement.parent) + " " + std::to_string(placement.worker) +
                         " " + std::to_string(seconds));
       }},
  };
  compare(comparison, settings.rounds);
}

}  // namespace

void measure_round_trip(const Settings& settings, const Peer& peer) {
  compare_placed({"unpinned", -1, -1}, settings, peer);
  const auto cpus = two_cpus();
  if (!cpus) {
    std::printf("\nRound trips with pinned ends are left out: there is only one CPU.\n");
    return;
  }
  compare_placed({"both ends on one core", cpus->first, cpus->first}, settings, peer);
  compare_placed({"on different cores", cpus->first, cpus->second}, settings, peer);
}

}  // namespace bench
