#include <cofork/ipc/rlock.hpp>
#include <cofork/runtime/errors.hpp>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::LockGuard;
using cofork::ipc::RLock;

namespace {
bool free_for_others(const RLock& lock) {
  bool got = false;
  std::thread([&] {
    got = lock.try_acquire();
    if (got) lock.release();
  }).join();
  return got;
}
}  // namespace

TEST_CASE("a recursive lock is acquired again by its owner, and free after as many releases", "[threads]") {
  const RLock lock;
  for (int i = 0; i < 3; ++i) CHECK(lock.try_acquire());
  {
    const LockGuard guard = lock.blocking_acquire();
    CHECK(lock.blocking_acquire(0s));
    CHECK_FALSE(free_for_others(lock));
  }
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(free_for_others(lock));
    lock.release();
  }
  CHECK(free_for_others(lock));
  CHECK_THROWS_AS(lock.release(), std::logic_error);
}

TEST_CASE("only the owner releases a recursive lock", "[threads]") {
  const RLock lock;
  CHECK(lock.try_acquire());
  bool refused = false;
  std::thread([&] { refused = throws_logic_error([&] { lock.release(); }); }).join();
  CHECK(refused);
  CHECK(run_in_processes(1, [lock](int) {
    support::require(throws_logic_error([&] { lock.release(); }), "release");
    support::require(!lock.try_acquire(), "try_acquire");
  }));
  lock.release();
}

TEST_CASE("a recursive lock that was held at the fork is its parent's") {
  const RLock lock;
  const LockGuard guard = lock.blocking_acquire();
  const auto child = support::in_child([&] {
    support::require(!lock.try_acquire(), "try_acquire");
    support::require(throws_logic_error([&] { lock.release(); }), "release");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a line of coroutines acquires its recursive lock again, another one waits") {
  const RLock lock;
  int step = 0;
  const auto inner = [&]() -> Task<> {
    const LockGuard guard = co_await lock.acquire();
    CHECK(step == 1);
  };
  const auto other = [&]() -> Task<> {
    const LockGuard guard = co_await lock.acquire();
    CHECK(step == 2);
  };
  const auto main = [&]() -> Task<> {
    LockGuard guard = co_await lock.acquire();
    auto waiting = cofork::spawn(other());
    co_await cofork::sleep(5ms);
    step = 1;
    co_await inner();
    co_await cofork::sleep(5ms);
    step = 2;
    guard.unlock();
    co_await std::move(waiting);
  };
  cofork::run(main);
  CHECK(free_for_others(lock));
}

TEST_CASE("a recursive lock whose guard outlives the line or the thread that acquired it is nobody else's") {
  const RLock lock;
  cofork::run([&]() -> Task<> {
    const LockGuard guard = co_await cofork::wait_for(lock.acquire(), 30s);
    // A context where the one of the line that has ended was.
    bool late = false;
    try {
      const LockGuard other = co_await cofork::wait_for(lock.acquire(), 1ms);
    } catch (const cofork::TimeoutError&) {
      late = true;
    }
    CHECK(late);
  });
  std::optional<LockGuard> guard;
  std::thread([&] { guard.emplace(lock.blocking_acquire()); }).join();
  CHECK_FALSE(free_for_others(lock));
  guard->unlock();
  CHECK(free_for_others(lock));
}

TEST_CASE("the recursive lock of a killed owner is free, however deep") {
  const RLock lock;
  kill_when_counted([lock](auto ready) {
    const LockGuard guard = lock.blocking_acquire();
    const LockGuard again = lock.blocking_acquire();
    ready();
    for (;;) ::pause();
  });
  const LockGuard guard = lock.blocking_acquire();
  CHECK(guard.owner_died());
  CHECK_FALSE(lock.blocking_acquire().owner_died());
}
