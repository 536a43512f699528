#include <cofork/ipc/barrier.hpp>
#include <cofork/ipc/condition.hpp>
#include <cofork/ipc/event.hpp>
#include <cofork/ipc/lock.hpp>
#include <cofork/ipc/rlock.hpp>
#include <cofork/ipc/semaphore.hpp>
#include <random>

#include "ipc/sync_harness.hpp"
#include "support/sanitizers.hpp"

using namespace sync_test;
namespace ipc = cofork::ipc;

namespace {

/// Starts and kills children that run `loop` until all have been killed, at whatever instant that is.
template <class F>
void kill_at_any_instant(F loop) {
  std::minstd_rand random(7);
  const int kills = 100 / support::slowdown;
  std::deque<Process> processes;
  for (int i = 0; i < 3; ++i) processes.push_back(start(loop));
  for (int i = 0; i < kills; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    processes.front().kill();
    processes.front().blocking_join();
    processes.pop_front();
    processes.push_back(start(loop));
  }
  for (Process& process : processes) {
    process.kill();
    process.blocking_join();
  }
}

}  // namespace

TEST_CASE("locks survive processes that are killed at any instant", "[limit:120]") {
  const ipc::Lock lock;
  const ipc::RLock recursive;
  const Count inside;
  kill_at_any_instant([=] {
    for (;;) {
      const ipc::LockGuard guard = lock.blocking_acquire();
      const ipc::LockGuard other = recursive.blocking_acquire();
      const ipc::LockGuard again = recursive.blocking_acquire();
      if (guard.owner_died()) *inside = 0;
      if (++*inside != 1) std::_Exit(1);
      --*inside;
    }
  });
  CHECK(lock.blocking_acquire(30s));
  CHECK(recursive.blocking_acquire(30s));
}

TEST_CASE("a semaphore loses no permit to processes that are killed at any instant", "[limit:120]") {
  const ipc::BoundedSemaphore semaphore(2);
  kill_at_any_instant([=] {
    for (;;) {
      const ipc::LockGuard one = semaphore.blocking_acquire();
      const auto two = semaphore.blocking_acquire(10us);
    }
  });
  CHECK(semaphore.value() == 2);
}

TEST_CASE("a condition survives waiters and notifiers that are killed at any instant", "[limit:120]") {
  const ipc::Condition condition;
  kill_at_any_instant([=] {
    for (;;) {
      ipc::LockGuard guard = condition.blocking_acquire();
      condition.notify();
      condition.blocking_wait(guard, 100us);
    }
  });
  const Count woken;
  const Count sleeping;
  const auto wait = [=] {
    ipc::LockGuard guard = condition.blocking_acquire();
    ++*sleeping;
    condition.blocking_wait(guard);
    ++*woken;
  };
  Process first = start(wait);
  Process second = start(wait);
  CHECK(support::eventually([&] { return *sleeping == 2; }));
  static_cast<void>(condition.blocking_acquire());
  condition.notify(2);
  CHECK(support::eventually([&] { return *woken == 2; }));
  first.blocking_join();
  second.blocking_join();
}

TEST_CASE("a barrier survives parties that are killed at any instant", "[limit:120]") {
  const ipc::Barrier barrier(2);
  kill_at_any_instant([=] {
    for (;;) barrier.blocking_wait();
  });
  CHECK_FALSE(barrier.broken());
  CHECK(barrier.n_waiting() == 0);
  Process other = start([=] { barrier.blocking_wait(); });
  CHECK(barrier.blocking_wait(30s) < 2);
  other.blocking_join();
}

TEST_CASE("events reach those who wait while others are killed at any instant", "[limit:120]") {
  const ipc::Event event;
  kill_at_any_instant([=] {
    for (;;) {
      event.set();
      event.blocking_wait();
      event.clear();
      event.blocking_wait(50us);
    }
  });
  event.clear();
  Process setter = start([=] { event.set(); });
  CHECK(event.blocking_wait(30s));
  setter.blocking_join();
}
