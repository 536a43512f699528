#include <cofork/runtime/condition.hpp>
#include <cofork/runtime/mutex.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cstddef>
#include <new>
#include <optional>
#include <stdexcept>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

namespace {

Task<> note(Condition& condition, std::vector<int>& order, int name) {
  Guard guard = co_await condition.lock();
  co_await condition.wait(guard);
  order.push_back(name);
}

Task<> notify_one(Condition& condition) {
  const Guard guard = co_await condition.lock();
  condition.notify_one();
}

Task<> notify_all(Condition& condition) {
  const Guard guard = co_await condition.lock();
  condition.notify_all();
}

// Takes items off `items` until it finds that it is negative.
Task<> consume(Condition& condition, int& items, int& consumed) {
  Guard guard = co_await condition.lock();
  for (;;) {
    while (items == 0) co_await condition.wait(guard);
    if (items < 0) co_return;
    --items;
    ++consumed;
  }
}

}  // namespace

TEST_CASE("waiting for a condition gives its lock away until it is notified") {
  Condition condition;
  std::vector<int> order;
  run([&]() -> Task<> {
    const Future<void> waiter = spawn(note(condition, order, 1));
    co_await turns(1);
    {
      const Guard guard = co_await condition.lock();
      condition.notify_one();
      co_await turns(3);
      CHECK(order.empty());
    }
    co_await turns(1);
    CHECK(order == std::vector{1});
    const Guard guard = co_await condition.lock();
    CHECK(static_cast<bool>(guard));
  });
}

TEST_CASE("notify_one wakes the first who waits, notify_all everyone, in order") {
  Condition condition;
  std::vector<int> order;
  std::vector<Future<void>> waiters;
  run([&]() -> Task<> {
    for (int name = 1; name <= 5; ++name) waiters.push_back(spawn(note(condition, order, name)));
    co_await turns(1);
    co_await notify_one(condition);
    co_await turns(3);
    CHECK(order == std::vector{1});
    co_await notify_one(condition);
    co_await turns(3);
    CHECK(order == std::vector{1, 2});
    co_await notify_all(condition);
    co_await turns(5);
    CHECK(order == std::vector{1, 2, 3, 4, 5});
  });
}

TEST_CASE("a notification that nobody waits for is lost") {
  Condition condition;
  std::vector<int> order;
  run([&]() -> Task<> {
    co_await notify_one(condition);
    co_await notify_all(condition);
    const Future<void> waiter = spawn(note(condition, order, 1));
    co_await turns(3);
    CHECK(order.empty());
  });
}

TEST_CASE("notifying without the lock is an error") {
  Condition condition;
  CHECK_THROWS_AS(condition.notify_one(), std::logic_error);
  CHECK_THROWS_AS(condition.notify_all(), std::logic_error);
}

TEST_CASE("waiting for a condition without its lock is an error") {
  run([]() -> Task<> {
    Condition condition;
    Condition other;
    Mutex mutex;
    Guard unlocked = co_await condition.lock();
    unlocked.unlock();
    Guard of_other = co_await other.lock();
    Guard of_mutex = co_await mutex.lock();
    const bool unlocked_throws = co_await support::throws<std::logic_error>(condition.wait(unlocked));
    const bool of_other_throws = co_await support::throws<std::logic_error>(condition.wait(of_other));
    const bool of_mutex_throws = co_await support::throws<std::logic_error>(condition.wait(of_mutex));
    CHECK(unlocked_throws);
    CHECK(of_other_throws);
    CHECK(of_mutex_throws);
    CHECK(static_cast<bool>(of_other));
  });
}

TEST_CASE("a guard cannot be unlocked while a condition waits with it") {
  Condition condition;
  run([&]() -> Task<> {
    std::optional<Guard> guard;
    const auto wait = [&]() -> Task<> {
      guard.emplace(co_await condition.lock());
      co_await condition.wait(*guard);
    };
    Future<void> waiter = spawn(wait());
    co_await turns(1);
    CHECK_FALSE(static_cast<bool>(*guard));
    CHECK_THROWS_AS(guard->unlock(), std::logic_error);
    co_await notify_one(condition);
    co_await waiter;
    CHECK(static_cast<bool>(*guard));
    guard.reset();
  });
}

TEST_CASE("cancelling the wait for a condition takes the lock again before it throws") {
  Condition condition;
  bool held = false;
  run([&]() -> Task<> {
    const auto wait = [&]() -> Task<> {
      Guard guard = co_await condition.lock();
      try {
        co_await condition.wait(guard);
      } catch (const CancelledError&) {
        held = static_cast<bool>(guard);
        throw;
      }
    };
    Future<void> waiter = spawn(wait());
    co_await turns(1);
    {
      const Guard guard = co_await condition.lock();
      waiter.cancel();
      co_await turns(5);
      CHECK_FALSE(waiter.done());
    }
    co_await turns(1);
    CHECK(waiter.cancelled());
    CHECK(held);
    const Guard guard = co_await condition.lock();
    CHECK(static_cast<bool>(guard));
  });
}

TEST_CASE("a coroutine that is cancelled again while it takes a condition's lock is not interrupted") {
  Condition condition;
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> waiter = spawn(note(condition, order, 1));
    co_await turns(1);
    Guard guard = co_await condition.lock();
    waiter.cancel();
    waiter.cancel();
    waiter.kill();
    co_await turns(3);
    CHECK_FALSE(waiter.done());
    guard.unlock();
    co_await turns(1);
    CHECK(waiter.cancelled());
    CHECK(order.empty());
  });
}

TEST_CASE("a coroutine that is cancelled after its notification, while it takes the lock, throws") {
  Condition condition;
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> waiter = spawn(note(condition, order, 1));
    co_await turns(1);
    Guard guard = co_await condition.lock();
    condition.notify_one();
    co_await turns(1);
    waiter.cancel();
    co_await turns(1);
    guard.unlock();
    co_await turns(1);
    CHECK(waiter.cancelled());
    CHECK(order.empty());
  });
}

TEST_CASE("a notified coroutine that already has the lock when it is cancelled goes on") {
  Condition condition;
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> waiter = spawn(note(condition, order, 1));
    co_await turns(1);
    co_await notify_one(condition);
    waiter.cancel();
    co_await turns(1);
    CHECK(order == std::vector{1});
    CHECK_FALSE(waiter.cancelled());
  });
}

TEST_CASE("the notification of a coroutine that is cancelled goes to the next") {
  const int turns_between = GENERATE(0, 1, 3);
  Condition condition;
  int items = 0;
  int consumed = 0;
  run([&]() -> Task<> {
    Future<void> first = spawn(consume(condition, items, consumed));
    Future<void> second = spawn(consume(condition, items, consumed));
    co_await turns(1);
    {
      Guard guard = co_await condition.lock();
      ++items;
      condition.notify_one();
      co_await turns(turns_between);
      first.cancel();
    }
    co_await turns(3);
    CHECK(first.cancelled());
    CHECK(consumed == 1);
    CHECK(items == 0);
    {
      const Guard guard = co_await condition.lock();
      items = -1;
      condition.notify_all();
    }
    co_await second;
  });
}

TEST_CASE("a cancelled coroutine cannot wait for a condition and keeps the lock") {
  Condition condition;
  bool threw = false;
  bool held = false;
  run([&]() -> Task<> {
    const auto body = [&]() -> Task<> {
      Guard guard = co_await condition.lock();
      co_await support::throws<CancelledError>(sleep(1h));
      threw = co_await support::throws<CancelledError>(condition.wait(guard));
      held = static_cast<bool>(guard);
    };
    Future<void> task = spawn(body());
    co_await turns(1);
    task.cancel();
    co_await task;
    CHECK(threw);
    CHECK(held);
    const Guard guard = co_await condition.lock();
    CHECK(static_cast<bool>(guard));
  });
}

TEST_CASE("a coroutine that is destroyed while it waits for a condition leaves everything to the others") {
  Condition condition;
  std::vector<int> order;
  run([&]() -> Task<> {
    support::Started waiting(note(condition, order, 1));
    support::Started notified(note(condition, order, 2));
    support::Started relocked(note(condition, order, 3));
    support::Started last(note(condition, order, 4));
    waiting.destroy();
    {
      const Guard guard = co_await condition.lock();
      condition.notify_one();
      notified.destroy();
    }
    // The third was given the notification, and then the lock.
    relocked.destroy();
    co_await turns(2);
    CHECK(order == std::vector{4});
    CHECK(last.ended());
    const Guard guard = co_await condition.lock();
    CHECK(static_cast<bool>(guard));
  });
}

TEST_CASE("who waits for a condition that is destroyed can still be cancelled") {
  std::optional<Condition> condition(std::in_place);
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> notified = spawn(note(*condition, order, 1));
    Future<void> waiting = spawn(note(*condition, order, 2));
    co_await turns(1);
    Guard guard = co_await condition->lock();
    Future<void> locking = spawn(note(*condition, order, 3));
    co_await turns(1);
    condition->notify_one();
    // A guard that is never destroyed.
    alignas(Guard) std::byte storage[sizeof(Guard)];
    ::new (storage) Guard(std::move(guard));
    condition.reset();
    waiting.cancel();
    notified.cancel();
    locking.cancel();
    co_await turns(1);
    CHECK(waiting.cancelled());
    CHECK(notified.cancelled());
    CHECK(locking.cancelled());
  });
}

TEST_CASE("the wait for a condition converts to a task") {
  run([]() -> Task<> {
    Condition condition;
    Guard guard = co_await condition.lock();
    Future<void> waiter = spawn<void>(condition.wait(guard));
    co_await turns(1);
    co_await notify_one(condition);
    co_await waiter;
    CHECK(static_cast<bool>(guard));
  });
}
