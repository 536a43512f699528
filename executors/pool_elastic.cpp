// How many workers a pool has: workers of one task, those that leave, and pauses between starts.
#include <algorithm>
#include <cofork/executors/pool_core.hpp>
#include <cofork/runtime/errors.hpp>
#include <stdexcept>

namespace cofork::detail {

PoolWorker* PoolCore::choose_worker(const QueueEntry& entry) {
  return entry.needs_own_worker() ? fresh_worker() : choose_worker(entry.expectation());
}

/// One that has run nothing, for which an idle one goes if there may be no more. Null if that must wait.
PoolWorker* PoolCore::fresh_worker() {
  PoolWorker* idle = nullptr;
  for (PoolWorker& worker : workers_) {
    if (worker.condemned || worker.retiring || !worker.idle()) continue;
    // What was taken back from it lies in its ring until it has passed that.
    if (worker.tasks_sent == 0 && worker.sender.has_room()) return &worker;
    idle = &worker;
  }
  if (!can_start_worker()) {
    if (!idle || broken_ || stopping_ || retry_.active()) return nullptr;
    retire(*idle);
    if (!can_start_worker()) return nullptr;
  }
  return start_worker();
}

/// It finishes what it has begun, and leaves.
void PoolCore::retire(PoolWorker& worker) {
  if (worker.condemned || worker.retiring) return;
  worker.retiring = true;
  take_back_all(worker);
  worker.sender.tell_to_leave();
  if (worker.idle()) worker.grace.start(Clock::now() + time_to_leave, &PoolCore::grace_over);
}

void PoolCore::retire_if_too_large(PoolWorker& worker) {
  if (worker.sender.worker_memory() > max_rss_per_child_) retire(worker);
}

void PoolCore::worker_idles(PoolWorker& worker) {
  if (idle_timeout_.count() == 0 || worker.condemned || worker.retiring) return;
  worker.idle_since = Clock::now();
  if (idle_.active()) return;
  idle_.start(deadline_after(idle_timeout_), [](Timer& timer) noexcept {
    const IntrusivePtr<PoolCore> core(static_cast<PoolTimer&>(timer).core);
    core->retire_idle();
  });
}

void PoolCore::retire_idle() {
  const Clock::time_point now = Clock::now();
  std::chrono::nanoseconds next = std::chrono::nanoseconds::max();
  for (PoolWorker& worker : workers_) {
    if (worker.condemned || worker.retiring || worker.pid == 0 || !worker.idle()) continue;
    const std::chrono::nanoseconds left = idle_timeout_ - (now - worker.idle_since);
    if (left.count() <= 0)
      retire(worker);
    else
      next = std::min(next, left);
  }
  if (next == std::chrono::nanoseconds::max()) return;
  idle_.start(deadline_after(next), [](Timer& timer) noexcept {
    const IntrusivePtr<PoolCore> core(static_cast<PoolTimer&>(timer).core);
    core->retire_idle();
  });
}

void PoolCore::resize(unsigned max_workers) {
  origin_.check("pool");
  if (max_workers == 0) throw std::invalid_argument("ProcessPoolExecutor::resize: there must be at least one worker");
  if (closing_) throw InvalidStateError("the pool was shut down: it cannot be resized");
  const IntrusivePtr<PoolCore> alive(this);
  max_workers_ = max_workers;
  for (;;) {
    unsigned staying = 0;
    PoolWorker* surplus = nullptr;  // the one with the least to do, of these the latest
    for (PoolWorker& worker : workers_) {
      if (worker.condemned || worker.retiring) continue;
      ++staying;
      if (!surplus || worker.idle() > surplus->idle() ||
          (worker.idle() == surplus->idle() && worker.expected <= surplus->expected))
        surplus = &worker;
    }
    if (staying <= max_workers_) break;
    retire(*surplus);
  }
  if (loop_) schedule();
  complete_ended();
}

void PoolCore::pause_starts(std::chrono::nanoseconds pause) {
  const Clock::time_point until = Clock::now() + pause;
  if (retry_.active() && retry_at_ >= until) return;
  retry_at_ = until;
  retry_.start(until, [](Timer& timer) noexcept {
    const IntrusivePtr<PoolCore> core(static_cast<PoolTimer&>(timer).core);
    core->schedule();
    core->complete_ended();
  });
}

}  // namespace cofork::detail
