#include <algorithm>
#include <cofork/ipc/condition.hpp>

#include "ipc/sync_harness.hpp"
#include "support/stop.hpp"

using namespace sync_test;
using cofork::ipc::Condition;
using cofork::ipc::LockGuard;

namespace {

/// Waits once; counts before and after.
void wait_once(const Condition& condition, const Count& sleeping, const Count& woken) {
  LockGuard guard = condition.blocking_acquire();
  ++*sleeping;
  condition.blocking_wait(guard);
  support::require(static_cast<bool>(guard), "the guard");
  ++*woken;
}

/// True if all who were counted wait: the lock was free once after that.
bool all_wait(const Condition& condition, const Count& sleeping, int n) {
  const bool came = support::eventually([&] { return *sleeping == n; });
  static_cast<void>(condition.blocking_acquire());
  return came;
}

bool stays(const Count& count, int n) {
  return support::eventually([&] { return *count == n; }) && !support::eventually([&] { return *count != n; }, 20ms);
}

}  // namespace

TEST_CASE("notify wakes one, notify(n) n, notify_all everybody", "[threads]") {
  const Condition condition;
  const Count sleeping, woken;
  std::deque<Process> processes;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) processes.push_back(start([=] { wait_once(condition, sleeping, woken); }));
  for (int i = 0; i < 3; ++i) threads.emplace_back([&] { wait_once(condition, sleeping, woken); });
  REQUIRE(all_wait(condition, sleeping, 6));
  CHECK(*woken == 0);
  condition.notify();
  CHECK(stays(woken, 1));
  condition.notify(2);
  CHECK(stays(woken, 3));
  condition.notify_all();
  CHECK(stays(woken, 6));
  condition.notify_all();
  for (Process& process : processes) process.blocking_join();
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("waiting for a condition gives up after its timeout, with the lock held") {
  const Condition condition;
  LockGuard guard = condition.blocking_acquire();
  CHECK_FALSE(condition.blocking_wait(guard, 3ms));
  CHECK(guard);
  CHECK_FALSE(condition.blocking_wait(guard, -1s));
  guard.unlock();
  CHECK_THROWS_AS(condition.blocking_wait(guard), std::logic_error);
}

TEST_CASE("waiting needs a guard of the same condition") {
  const Condition condition, other;
  LockGuard guard = other.blocking_acquire();
  CHECK_THROWS_AS(condition.blocking_wait(guard), std::logic_error);
}

TEST_CASE("a notification is not for those who begin to wait after it", "[threads]") {
  const Condition condition;
  const Count sleeping, woken;
  std::thread early([&] { wait_once(condition, sleeping, woken); });
  REQUIRE(all_wait(condition, sleeping, 1));
  LockGuard guard = condition.blocking_acquire();
  condition.notify();
  const bool notified = condition.blocking_wait(guard, 20ms);
  CHECK_FALSE(notified);
  guard.unlock();
  early.join();
}

TEST_CASE("the notification of a killed waiter goes to another") {
  const Condition condition;
  const Count sleeping, woken;
  std::deque<Process> processes;
  for (int i = 0; i < 2; ++i) processes.push_back(start([=] { wait_once(condition, sleeping, woken); }));
  REQUIRE(all_wait(condition, sleeping, 2));
  // One of them is stopped with a notification that it has not noticed, or neither is concerned.
  for (Process& process : processes) support::stop(process.pid());
  condition.notify();
  processes[0].kill();
  processes[0].blocking_join();
  processes[1].send_signal(SIGCONT);
  // Whoever of the two it was for: the other is told now.
  condition.notify();
  CHECK(stays(woken, 1));
  processes[1].blocking_join();
}

TEST_CASE("a killed waiter passes its notification on without another") {
  const Condition condition;
  const Count sleeping, woken;
  Process first = start([=] { wait_once(condition, sleeping, woken); });
  REQUIRE(all_wait(condition, sleeping, 1));
  support::stop(first.pid());
  condition.notify();
  Process second = start([=] { wait_once(condition, sleeping, woken); });
  REQUIRE(all_wait(condition, sleeping, 2));
  CHECK(stays(woken, 0));
  first.kill();
  CHECK(stays(woken, 1));
  first.blocking_join();
  second.blocking_join();
}

TEST_CASE("the lock of a condition is taken from a killed owner") {
  const Condition condition;
  kill_when_counted([condition](auto ready) {
    const LockGuard guard = condition.blocking_acquire();
    ready();
    for (;;) ::pause();
  });
  CHECK(condition.blocking_acquire().owner_died());
}

TEST_CASE("coroutines wait for a condition that another process notifies") {
  const Condition condition;
  const Count state;
  Process process = start([=] {
    LockGuard guard = condition.blocking_acquire();
    while (*state == 0) condition.blocking_wait(guard);
    *state = 2;
    condition.notify_all();
  });
  const auto main = [&]() -> Task<> {
    LockGuard guard = co_await condition.acquire();
    *state = 1;
    condition.notify_all();
    while (*state != 2) co_await condition.wait(guard);
    CHECK(guard);
    const bool notified = co_await condition.wait(guard, 2ms);
    CHECK_FALSE(notified);
  };
  cofork::run(main);
  process.blocking_join();
}

TEST_CASE("a cancelled wait for a condition waits for the lock, holds it again and leaves notifications to others") {
  const Condition condition;
  std::vector<int> order;
  const auto wait_for_ever = [&]() -> Task<> {
    LockGuard guard = co_await condition.acquire();
    try {
      co_await condition.wait(guard);
    } catch (const cofork::CancelledError&) {
      order.push_back(2);
      guard.unlock();  // throws if it is not held
      throw;
    }
  };
  const auto wait_once_more = [&]() -> Task<> {
    LockGuard guard = co_await condition.acquire();
    co_await condition.wait(guard);
    order.push_back(3);
  };
  const auto main = [&]() -> Task<> {
    auto first = cofork::spawn(wait_for_ever());
    co_await cofork::sleep(2ms);
    auto second = cofork::spawn(wait_once_more());
    co_await cofork::sleep(2ms);
    // Both wait, and neither is about to look whether it was notified: it would be, and not be cancelled.
    for (int turn = 0; turn < 3; ++turn) co_await cofork::yield_now();
    LockGuard guard = co_await condition.acquire();
    condition.notify();
    first.cancel();
    co_await cofork::sleep(5ms);
    order.push_back(1);
    guard.unlock();
    bool cancelled = false;
    try {
      co_await std::move(first);
    } catch (const cofork::CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
    co_await std::move(second);
    CHECK(order.front() == 1);
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector<int>{1, 2, 3});
  };
  cofork::run(main);
}
