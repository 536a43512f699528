#include <cofork/runtime/mutex.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <optional>
#include <stdexcept>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

namespace {

Task<> note(Mutex& mutex, std::vector<int>& order, int name) {
  const Guard guard = co_await mutex.lock();
  order.push_back(name);
}

// Locks, then keeps the lock for `held` turns.
Task<> hold(Mutex& mutex, int held) {
  const Guard guard = co_await mutex.lock();
  co_await turns(held);
}

}  // namespace

TEST_CASE("a mutex is locked while a guard of it lives") {
  run([]() -> Task<> {
    Mutex mutex;
    CHECK_FALSE(mutex.locked());
    {
      const Guard guard = co_await mutex.lock();
      CHECK(mutex.locked());
      CHECK(static_cast<bool>(guard));
    }
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("a guard unlocks early, and only once") {
  run([]() -> Task<> {
    Mutex mutex;
    Guard guard = co_await mutex.lock();
    guard.unlock();
    CHECK_FALSE(mutex.locked());
    CHECK_FALSE(static_cast<bool>(guard));
    CHECK_THROWS_AS(guard.unlock(), std::logic_error);
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("a guard moves with what it holds") {
  run([]() -> Task<> {
    Mutex first_mutex;
    Mutex second_mutex;
    Guard first = co_await first_mutex.lock();
    Guard second = co_await second_mutex.lock();
    Guard moved = std::move(first);
    CHECK_THROWS_AS(first.unlock(), std::logic_error);
    CHECK(first_mutex.locked());
    moved = std::move(second);
    CHECK_FALSE(first_mutex.locked());
    CHECK(second_mutex.locked());
    Guard& same = moved;
    moved = std::move(same);
    CHECK(second_mutex.locked());
    moved.unlock();
    CHECK_FALSE(second_mutex.locked());
  });
}

TEST_CASE("try_lock takes a mutex that is free, and unlock gives it back") {
  Mutex mutex;
  run([&]() -> Task<> {
    CHECK(mutex.try_lock());
    CHECK_FALSE(mutex.try_lock());
    std::vector<int> order;
    const Future<void> waiter = spawn(note(mutex, order, 1));
    co_await turns(1);
    CHECK(order.empty());
    mutex.unlock();
    CHECK_FALSE(mutex.try_lock());
    co_await turns(1);
    CHECK(order == std::vector{1});
    CHECK_FALSE(mutex.locked());
    CHECK_THROWS_AS(mutex.unlock(), std::logic_error);
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("a mutex is handed to those who wait in the order in which they came") {
  Mutex mutex;
  std::vector<int> order;
  run([&]() -> Task<> {
    Guard guard = co_await mutex.lock();
    const Future<void> first = spawn(note(mutex, order, 1));
    const Future<void> second = spawn(note(mutex, order, 2));
    co_await turns(2);
    const Future<void> third = spawn(note(mutex, order, 3));
    co_await turns(1);
    CHECK(order.empty());
    guard.unlock();
    CHECK(mutex.locked());
    // Handed over, so the one that comes now cannot overtake.
    const Future<void> late = spawn(note(mutex, order, 4));
    co_await turns(5);
    CHECK(order == std::vector{1, 2, 3, 4});
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("one coroutine at a time is inside a mutex") {
  Mutex mutex;
  int inside = 0;
  int most = 0;
  run([&]() -> Task<> {
    const auto enter = [&]() -> Task<> {
      for (int round = 0; round < 20; ++round) {
        const Guard guard = co_await mutex.lock();
        most = std::max(most, ++inside);
        co_await turns(round % 3);
        --inside;
      }
    };
    std::vector<Future<void>> tasks;
    for (int task = 0; task < 20; ++task) tasks.push_back(spawn(enter()));
    for (Future<void>& task : tasks) co_await task;
    CHECK(most == 1);
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("cancelling ends the wait for a mutex, and the next in line is not forgotten") {
  Mutex mutex;
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> holder = spawn(hold(mutex, 3));
    co_await turns(1);
    Future<void> second = spawn(note(mutex, order, 2));
    const Future<void> third = spawn(note(mutex, order, 3));
    co_await turns(1);
    second.cancel();
    co_await turns(1);
    CHECK(second.cancelled());
    co_await holder;
    co_await turns(2);
    CHECK(order == std::vector{3});
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("a mutex that is unlocked and whose first waiter is cancelled in the same turn goes to exactly one") {
  const bool cancel_first = GENERATE(true, false);
  Mutex mutex;
  int taken = 0;
  const auto take_and_keep = [&]() -> Task<> {
    Guard guard = co_await mutex.lock();
    ++taken;
    co_await sleep(1h);
  };
  run([&]() -> Task<> {
    Guard guard = co_await mutex.lock();
    Future<void> first = spawn(take_and_keep());
    Future<void> second = spawn(take_and_keep());
    const Future<void> third = spawn(take_and_keep());
    co_await turns(1);
    if (cancel_first) first.cancel();
    guard.unlock();
    if (!cancel_first) first.cancel();
    co_await turns(1);
    CHECK(taken == 1);
    co_await turns(1);
    CHECK(first.cancelled());
    CHECK_FALSE(second.done());
    CHECK_FALSE(third.done());
    co_await turns(1);
    CHECK(taken == (cancel_first ? 1 : 2));
    CHECK(mutex.locked());
  });
}

TEST_CASE("a mutex that was handed over before the cancellation is delivered") {
  Mutex mutex;
  std::vector<int> order;
  run([&]() -> Task<> {
    Guard guard = co_await mutex.lock();
    Future<void> waiter = spawn(note(mutex, order, 1));
    co_await turns(1);
    guard.unlock();
    waiter.cancel();
    co_await turns(1);
    CHECK(order == std::vector{1});
    CHECK_FALSE(waiter.cancelled());
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("a mutex goes to the next when the coroutine it was handed to is destroyed") {
  Mutex mutex;
  std::vector<int> order;
  run([&]() -> Task<> {
    Guard guard = co_await mutex.lock();
    support::Started first(note(mutex, order, 1));
    support::Started second(note(mutex, order, 2));
    support::Started third(note(mutex, order, 3));
    second.destroy();
    guard.unlock();
    first.destroy();
    co_await turns(1);
    CHECK(order == std::vector{3});
    CHECK(third.ended());
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("a mutex that is free can be locked by a cancelled coroutine, one that is not cannot") {
  Mutex mutex;
  bool free_one_throws = true;
  bool locked_one_throws = false;
  run([&]() -> Task<> {
    const auto body = [&]() -> Task<> {
      co_await support::throws<CancelledError>(sleep(1h));
      free_one_throws = co_await support::throws<CancelledError>(mutex.lock());
      const Guard guard = co_await mutex.lock();
      locked_one_throws = co_await support::throws<CancelledError>(mutex.lock());
    };
    Future<void> task = spawn(body());
    co_await turns(1);
    task.cancel();
    co_await task;
    CHECK_FALSE(free_one_throws);
    CHECK(locked_one_throws);
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("a guard that nobody takes out of its future unlocks") {
  run([]() -> Task<> {
    Mutex mutex;
    {
      Future<Guard> future = spawn<Guard>(mutex.lock());
      co_await turns(1);
      CHECK(future.done());
      CHECK(mutex.locked());
    }
    CHECK_FALSE(mutex.locked());
    Future<Guard> future = spawn<Guard>(mutex.lock());
    const Guard guard = co_await std::move(future);
    CHECK(mutex.locked());
  });
}

TEST_CASE("who waits for a mutex that is destroyed can still be cancelled") {
  std::optional<Mutex> mutex(std::in_place);
  std::vector<int> order;
  run([&]() -> Task<> {
    REQUIRE(mutex->try_lock());
    Future<void> waiter = spawn(note(*mutex, order, 1));
    co_await turns(1);
    mutex.reset();
    waiter.cancel();
    co_await turns(1);
    CHECK(waiter.cancelled());
  });
}

TEST_CASE("a mutex and its guards need no loop while nobody waits") {
  Mutex mutex;
  CHECK(mutex.try_lock());
  mutex.unlock();
  std::optional<Guard> guard;
  run([&]() -> Task<> { guard.emplace(co_await mutex.lock()); });
  CHECK(mutex.locked());
  guard.reset();
  CHECK_FALSE(mutex.locked());
}
