#include <cofork/ipc/lock.hpp>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::Lock;
using cofork::ipc::LockGuard;

TEST_CASE("a lock is taken once and released once") {
  const Lock lock;
  CHECK_FALSE(lock.locked());
  CHECK(lock.try_acquire());
  CHECK(lock.locked());
  CHECK_FALSE(lock.try_acquire());
  CHECK_FALSE(lock.blocking_acquire(1ms));
  CHECK_FALSE(lock.blocking_acquire(-1s));
  lock.release();
  CHECK_FALSE(lock.locked());
  CHECK_THROWS_AS(lock.release(), std::logic_error);
}

TEST_CASE("a guard releases when it is destroyed, unlocked or replaced, and moves") {
  const Lock lock;
  {
    LockGuard guard = lock.blocking_acquire();
    CHECK_FALSE(guard.owner_died());
    LockGuard moved = std::move(guard);
    CHECK(lock.locked());
    CHECK(moved);
  }
  CHECK_FALSE(lock.locked());
  LockGuard guard = lock.blocking_acquire();
  guard.unlock();
  CHECK_FALSE(lock.locked());
  CHECK_THROWS_AS(guard.unlock(), std::logic_error);
}

TEST_CASE("a guard whose lock was released leaves the next acquisition alone") {
  const Lock lock;
  std::optional<LockGuard> guard = lock.blocking_acquire();
  lock.release();
  const LockGuard next = lock.blocking_acquire();
  CHECK_THROWS_AS(guard->unlock(), std::logic_error);
  guard.reset();
  CHECK(lock.locked());
}

TEST_CASE("a lock excludes processes, threads and coroutines at once", "[threads]") {
  const Lock lock;
  const cofork::ipc::RawValue<long> counter;
  const auto add = [lock, counter](int) {
    for (int i = 0; i < 2000; ++i) {
      const LockGuard guard = lock.blocking_acquire();
      counter.set(counter.get() + 1);
    }
  };
  const auto add_awaiting = [&]() -> Task<> {
    for (int i = 0; i < 2000; ++i) {
      const LockGuard guard = co_await lock.acquire();
      counter.set(counter.get() + 1);
    }
  };
  std::deque<Process> processes;
  for (int i = 0; i < 2; ++i) processes.push_back(start([add] { add(0); }));
  std::thread first(add, 0);
  std::thread second(add, 0);
  const auto main = [&]() -> Task<> {
    auto one = cofork::spawn(add_awaiting());
    auto two = cofork::spawn(add_awaiting());
    co_await std::move(one);
    co_await std::move(two);
  };
  cofork::run(main);
  first.join();
  second.join();
  for (Process& process : processes) process.blocking_join();
  CHECK(counter.get() == 12000);
}

TEST_CASE("any process may release a lock") {
  const Lock lock;
  CHECK(lock.try_acquire());
  CHECK(run_in_processes(1, [lock](int) { lock.release(); }));
  CHECK_FALSE(lock.locked());
}

TEST_CASE("the lock of a killed owner goes to the next, who is told once") {
  const Lock lock;
  kill_when_counted([lock](auto ready) {
    const LockGuard guard = lock.blocking_acquire();
    ready();
    for (;;) ::pause();
  });
  CHECK_FALSE(lock.locked());
  {
    const LockGuard guard = lock.blocking_acquire();
    CHECK(guard.owner_died());
  }
  CHECK_FALSE(lock.blocking_acquire().owner_died());
}

TEST_CASE("those who wait for a lock get it when its owner is killed") {
  const Lock lock;
  const Count there;
  Process owner = start([lock, there] {
    const LockGuard guard = lock.blocking_acquire();
    ++*there;
    for (;;) ::pause();
  });
  REQUIRE(support::eventually([&] { return *there == 1; }));
  SECTION("blocking") {
    std::thread killer([&] {
      ::usleep(20000);
      owner.kill();
    });
    CHECK(lock.blocking_acquire().owner_died());
    killer.join();
  }
  SECTION("awaiting") {
    const auto main = [&]() -> Task<> {
      auto waiting = cofork::spawn(lock.acquire());
      co_await cofork::sleep(20ms);
      owner.kill();
      const LockGuard guard = co_await std::move(waiting);
      CHECK(guard.owner_died());
      co_await owner.join();
    };
    cofork::run(main);
  }
  owner.blocking_join();
}

TEST_CASE("a lock that a process left behind with its last handle is free") {
  const Lock lock;
  CHECK(run_in_processes(1, [lock](int) { support::require(lock.try_acquire(), "try_acquire"); }));
  CHECK(lock.blocking_acquire().owner_died());
}

TEST_CASE("a cancelled wait for a lock takes nothing") {
  const Lock lock;
  const auto main = [&]() -> Task<> {
    CHECK(lock.try_acquire());
    bool timed_out = false;
    try {
      const LockGuard guard = co_await cofork::wait_for(lock.acquire(), 5ms);
    } catch (const cofork::TimeoutError&) {
      timed_out = true;
    }
    CHECK(timed_out);
    lock.release();
    CHECK_FALSE(lock.locked());
  };
  cofork::run(main);
}

TEST_CASE("blocking for a lock on a loop's thread is an error") {
  const Lock lock;
  const auto main = [&]() -> Task<> {
    CHECK(throws_logic_error([&] { static_cast<void>(lock.blocking_acquire()); }));
    CHECK(throws_logic_error([&] { static_cast<void>(lock.blocking_acquire(1s)); }));
    co_return;
  };
  cofork::run(main);
}

TEST_CASE("a lock that a child was not given cannot be used there, nor one that was moved from") {
  Lock lock;
  static const Lock* other = &lock;
  CHECK(run_in_processes(1, [](int) {
    support::require(throws_logic_error([] { static_cast<void>(other->try_acquire()); }), "it was not given");
  }));
  const Lock moved = std::move(lock);
  CHECK_THROWS_AS(lock.try_acquire(), std::logic_error);
}

TEST_CASE("a child's copy of its parent's guard releases nothing") {
  const Lock lock;
  std::optional<LockGuard> guard = lock.blocking_acquire();
  const auto child = support::in_child([&] {
    support::require(throws_logic_error([&] { guard->unlock(); }), "unlock");
    guard.reset();
    support::require(lock.locked(), "locked");
    support::require(!lock.try_acquire(), "try_acquire");
  });
  INFO(child.output);
  CHECK(child.succeeded());
  CHECK(lock.locked());
  guard->unlock();
}

namespace {
int add_in_worker(const Lock& lock, const cofork::ipc::RawValue<int>& counter) {
  for (int i = 0; i < 200; ++i) {
    const LockGuard guard = lock.blocking_acquire();
    counter.set(counter.get() + 1);
  }
  return counter.get();
}
}  // namespace

TEST_CASE("a lock travels as an argument of pool tasks") {
  const auto main = []() -> Task<> {
    const Lock lock;
    const cofork::ipc::RawValue<int> counter;
    cofork::ProcessPoolExecutor pool(2);
    std::vector<cofork::Future<int>> futures;
    for (int i = 0; i < 4; ++i) futures.push_back(pool.submit(add_in_worker, lock, counter));
    for (auto& future : futures) co_await std::move(future);
    CHECK(counter.get() == 800);
  };
  cofork::run(main);
}
