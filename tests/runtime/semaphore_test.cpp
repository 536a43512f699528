#include <algorithm>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/semaphore.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

namespace {

Task<> note(Semaphore& semaphore, std::vector<int>& order, int name) {
  const Guard guard = co_await semaphore.acquire();
  order.push_back(name);
  co_await sleep(1h);
}

}  // namespace

TEST_CASE("a semaphore cannot have a negative number of permits") {
  CHECK_THROWS_AS(Semaphore(static_cast<std::size_t>(-1)), std::invalid_argument);
  CHECK_NOTHROW(Semaphore(0));
}

TEST_CASE("a semaphore cannot have more permits than can be counted") {
  Semaphore semaphore(SIZE_MAX / 2);
  CHECK_THROWS_AS(semaphore.release(), std::logic_error);
}

TEST_CASE("as many coroutines as there are permits pass a semaphore at a time") {
  Semaphore semaphore(3);
  int inside = 0;
  int most = 0;
  run([&]() -> Task<> {
    const auto enter = [&]() -> Task<> {
      const Guard guard = co_await semaphore.acquire();
      most = std::max(most, ++inside);
      co_await turns(3);
      --inside;
    };
    std::vector<Future<void>> tasks;
    for (int task = 0; task < 20; ++task) tasks.push_back(spawn(enter()));
    for (Future<void>& task : tasks) co_await task;
    CHECK(most == 3);
  });
}

TEST_CASE("release adds permits that nobody took") {
  Semaphore semaphore(0);
  std::vector<int> order;
  run([&]() -> Task<> {
    const Future<void> first = spawn(note(semaphore, order, 1));
    const Future<void> second = spawn(note(semaphore, order, 2));
    co_await turns(2);
    CHECK(order.empty());
    semaphore.release();
    semaphore.release();
    semaphore.release();
    co_await turns(1);
    CHECK(order == std::vector{1, 2});
    const Guard third = co_await semaphore.acquire();
    const Future<void> fourth = spawn(note(semaphore, order, 4));
    co_await turns(2);
    CHECK(order == std::vector{1, 2});
  });
}

TEST_CASE("a semaphore's permits go to those who wait in the order in which they came") {
  Semaphore semaphore(1);
  std::vector<int> order;
  run([&]() -> Task<> {
    Guard guard = co_await semaphore.acquire();
    std::vector<Future<void>> waiters;
    for (int name = 1; name <= 3; ++name) waiters.push_back(spawn(note(semaphore, order, name)));
    co_await turns(1);
    guard.unlock();
    CHECK_THROWS_AS(guard.unlock(), std::logic_error);
    waiters.push_back(spawn(note(semaphore, order, 4)));
    for (int turn = 0; turn < 4; ++turn) {
      co_await turns(1);
      semaphore.release();
    }
    co_await turns(1);
    CHECK(order == std::vector{1, 2, 3, 4});
  });
}

TEST_CASE("cancelling ends the wait for a semaphore, and its permit goes to the next") {
  Semaphore semaphore(0);
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> first = spawn(note(semaphore, order, 1));
    Future<void> second = spawn(note(semaphore, order, 2));
    const Future<void> third = spawn(note(semaphore, order, 3));
    co_await turns(1);
    first.cancel();
    second.cancel();
    semaphore.release();
    co_await turns(1);
    CHECK(first.cancelled());
    CHECK(second.cancelled());
    CHECK(order == std::vector{3});
  });
}

TEST_CASE("a permit that was handed over before the cancellation is delivered, and given back in the end") {
  Semaphore semaphore(0);
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> first = spawn(note(semaphore, order, 1));
    co_await turns(1);
    semaphore.release();
    first.cancel();
    co_await turns(1);
    CHECK(order == std::vector{1});
    CHECK(first.cancelled());
    const Guard guard = co_await semaphore.acquire();
    CHECK(static_cast<bool>(guard));
  });
}

TEST_CASE("a permit goes to the next when the coroutine it was handed to is destroyed") {
  Semaphore semaphore(0);
  std::vector<int> order;
  run([&]() -> Task<> {
    support::Started first(note(semaphore, order, 1));
    support::Started second(note(semaphore, order, 2));
    semaphore.release();
    first.destroy();
    co_await turns(1);
    CHECK(order == std::vector{2});
    second.destroy();
    const Guard guard = co_await semaphore.acquire();
    CHECK(static_cast<bool>(guard));
  });
}

TEST_CASE("who waits for a semaphore that is destroyed can still be cancelled") {
  std::optional<Semaphore> semaphore(std::in_place, 0u);
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> waiter = spawn(note(*semaphore, order, 1));
    co_await turns(1);
    semaphore.reset();
    waiter.cancel();
    co_await turns(1);
    CHECK(waiter.cancelled());
  });
}
