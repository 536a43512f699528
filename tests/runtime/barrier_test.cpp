#include <algorithm>
#include <cofork/runtime/barrier.hpp>
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

Task<> note(Barrier& barrier, std::vector<std::size_t>& indices) {
  const std::size_t index = co_await barrier.wait();
  indices.push_back(index);
}

}  // namespace

TEST_CASE("a barrier needs at least one party") {
  CHECK_THROWS_AS(Barrier(0), std::invalid_argument);
  CHECK_THROWS_AS(Barrier(static_cast<std::size_t>(-1)), std::invalid_argument);
}

TEST_CASE("a barrier of one does not wait") {
  Barrier barrier(1);
  bool others_ran = false;
  run([&]() -> Task<> {
    const auto other = [&]() -> Task<> {
      others_ran = true;
      co_return;
    };
    Future<void> spawned = spawn(other());
    const std::size_t first = co_await barrier.wait();
    const std::size_t second = co_await barrier.wait();
    CHECK(first == 0);
    CHECK(second == 0);
    CHECK_FALSE(others_ran);
    co_await spawned;
  });
}

TEST_CASE("nobody passes a barrier before all have come, and each gets an index of its own") {
  Barrier barrier(3);
  std::vector<std::size_t> indices;
  run([&]() -> Task<> {
    const Future<void> first = spawn(note(barrier, indices));
    const Future<void> second = spawn(note(barrier, indices));
    co_await turns(3);
    CHECK(indices.empty());
    const std::size_t last = co_await barrier.wait();
    CHECK(last == 2);
    co_await turns(1);
    CHECK(indices == std::vector<std::size_t>{0, 1});
  });
}

TEST_CASE("a barrier is used again and again") {
  constexpr int parties = 5;
  constexpr int rounds = 50;
  Barrier barrier(parties);
  std::vector<int> arrived(rounds, 0);
  std::vector<std::size_t> sums(rounds, 0);
  int early = 0;
  run([&]() -> Task<> {
    const auto body = [&](int pause) -> Task<> {
      for (std::size_t round = 0; round < rounds; ++round) {
        co_await turns(pause);
        ++arrived[round];
        sums[round] += co_await barrier.wait();
        if (arrived[round] != parties) ++early;
      }
    };
    std::vector<Future<void>> tasks;
    for (int party = 0; party < parties; ++party) tasks.push_back(spawn(body(party % 3)));
    for (Future<void>& task : tasks) co_await task;
    CHECK(early == 0);
    CHECK(sums == std::vector<std::size_t>(rounds, 0 + 1 + 2 + 3 + 4));
  });
}

TEST_CASE("one that comes when all have passed belongs to the next round") {
  Barrier barrier(2);
  std::vector<std::size_t> indices;
  run([&]() -> Task<> {
    const Future<void> first = spawn(note(barrier, indices));
    co_await turns(1);
    const std::size_t second = co_await barrier.wait();
    CHECK(second == 1);
    const Future<void> third = spawn(note(barrier, indices));
    co_await turns(3);
    CHECK(first.done());
    CHECK_FALSE(third.done());
    co_await barrier.wait();
    co_await turns(1);
    CHECK(indices == std::vector<std::size_t>{0, 0});
  });
}

TEST_CASE("a coroutine that is cancelled leaves the barrier") {
  Barrier barrier(3);
  std::vector<std::size_t> indices;
  run([&]() -> Task<> {
    Future<void> first = spawn(note(barrier, indices));
    Future<void> second = spawn(note(barrier, indices));
    co_await turns(1);
    first.cancel();
    const Future<void> third = spawn(note(barrier, indices));
    co_await turns(3);
    CHECK(first.cancelled());
    CHECK(indices.empty());
    const std::size_t last = co_await barrier.wait();
    CHECK(last == 2);
    co_await turns(1);
    CHECK(indices == std::vector<std::size_t>{0, 1});
  });
}

TEST_CASE("when all have come it is too late to be cancelled") {
  Barrier barrier(2);
  std::vector<std::size_t> indices;
  run([&]() -> Task<> {
    Future<void> first = spawn(note(barrier, indices));
    co_await turns(1);
    co_await barrier.wait();
    first.cancel();
    co_await turns(1);
    CHECK(indices == std::vector<std::size_t>{0});
    CHECK_FALSE(first.cancelled());
  });
}

TEST_CASE("a cancelled coroutine does not wait at a barrier, but completes it") {
  Barrier barrier(2);
  std::vector<std::size_t> indices;
  bool alone_throws = false;
  bool last_throws = true;
  run([&]() -> Task<> {
    const auto body = [&]() -> Task<> {
      co_await support::throws<CancelledError>(sleep(1h));
      alone_throws = co_await support::throws<CancelledError>(barrier.wait());
      support::Started other(note(barrier, indices));
      last_throws = co_await support::throws<CancelledError>(barrier.wait());
    };
    Future<void> task = spawn(body());
    co_await turns(1);
    task.cancel();
    co_await task;
    CHECK(alone_throws);
    CHECK_FALSE(last_throws);
  });
}

TEST_CASE("a coroutine that is destroyed at a barrier leaves it") {
  Barrier barrier(2);
  std::vector<std::size_t> indices;
  run([&]() -> Task<> {
    support::Started first(note(barrier, indices));
    first.destroy();
    support::Started second(note(barrier, indices));
    co_await turns(2);
    CHECK_FALSE(second.ended());
    const std::size_t index = co_await barrier.wait();
    CHECK(index == 1);
    co_await turns(1);
    CHECK(indices == std::vector<std::size_t>{0});
  });
}

TEST_CASE("who waits at a barrier that is destroyed can still be cancelled") {
  std::optional<Barrier> barrier(std::in_place, 3u);
  std::vector<std::size_t> indices;
  run([&]() -> Task<> {
    Future<void> waiter = spawn(note(*barrier, indices));
    co_await turns(1);
    support::Started destroyed_later(note(*barrier, indices));
    barrier.reset();
    waiter.cancel();
    destroyed_later.destroy();
    co_await turns(1);
    CHECK(waiter.cancelled());
  });
}

TEST_CASE("the wait at a barrier converts to a task") {
  run([]() -> Task<> {
    Barrier barrier(2);
    Future<std::size_t> waiter = spawn<std::size_t>(barrier.wait());
    co_await turns(1);
    const std::size_t own = co_await barrier.wait();
    const std::size_t other = co_await waiter;
    CHECK(own + other == 1);
  });
}
