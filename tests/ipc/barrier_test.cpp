#include <poll.h>

#include <algorithm>
#include <array>
#include <cofork/ipc/array.hpp>
#include <cofork/ipc/barrier.hpp>
#include <cofork/runtime/errors.hpp>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::BrokenBarrier;
using cofork::ipc::Barrier;

namespace {
bool breaks(const Barrier& barrier, std::optional<std::chrono::nanoseconds> timeout = std::nullopt) {
  try {
    barrier.blocking_wait(timeout);
  } catch (const BrokenBarrier&) {
    return true;
  }
  return false;
}
bool waiting(const Barrier& barrier, unsigned n) {
  return support::eventually([&] { return barrier.n_waiting() == n; });
}
}  // namespace

TEST_CASE("a barrier between processes needs parties, and one party passes alone") {
  CHECK_THROWS_AS(Barrier(0), std::invalid_argument);
  const Barrier barrier(1);
  CHECK(barrier.parties() == 1);
  for (int i = 0; i < 3; ++i) CHECK(barrier.blocking_wait() == 0);
  CHECK(barrier.n_waiting() == 0);
  CHECK_FALSE(barrier.broken());
}

TEST_CASE("processes pass a barrier together, each with another index, again and again") {
  constexpr int parties = 4;
  constexpr int rounds = 100;
  const Barrier barrier(parties);
  const cofork::ipc::RawArray<std::atomic<int>> seen(parties);
  const Count arrived;
  const auto body = [=](int) {
    for (int round = 0; round < rounds; ++round) {
      ++*arrived;
      const unsigned index = barrier.blocking_wait();
      support::require(*arrived >= (round + 1) * parties, "all have come");
      ++seen.at(index);
      barrier.blocking_wait();
    }
  };
  CHECK(run_in_processes(parties, body));
  for (const std::atomic<int>& count : seen) CHECK(count == rounds);
}

TEST_CASE("more processes than parties share a barrier") {
  const Barrier barrier(2);
  const cofork::ipc::RawArray<std::atomic<int>> seen(2);
  const Count arrivals;
  CHECK(run_in_processes(4, [=](int) {
    while ((*arrivals)++ < 200) ++seen.at(barrier.blocking_wait());
  }));
  CHECK(seen[0] == 100);
  CHECK(seen[1] == 100);
}

TEST_CASE("coroutines, threads and processes meet at a barrier", "[threads]") {
  const Barrier barrier(4);
  Process process = start([=] { barrier.blocking_wait(); });
  std::thread thread([&] { barrier.blocking_wait(); });
  const auto main = [&]() -> Task<> {
    auto first = cofork::spawn(barrier.wait());
    auto second = cofork::spawn(barrier.wait());
    const unsigned one = co_await std::move(first);
    const unsigned two = co_await std::move(second);
    CHECK(one != two);
    CHECK(std::max(one, two) < 4);
  };
  cofork::run(main);
  thread.join();
  process.blocking_join();
  CHECK(process.exitcode() == 0);
}

TEST_CASE("a timeout breaks the barrier for all, until it is reset", "[threads]") {
  const Barrier barrier(3);
  bool other_broke = false;
  std::thread other([&] { other_broke = breaks(barrier); });
  REQUIRE(waiting(barrier, 1));
  CHECK(breaks(barrier, 5ms));
  other.join();
  CHECK(other_broke);
  CHECK(barrier.broken());
  CHECK(breaks(barrier));
  barrier.reset();
  CHECK_FALSE(barrier.broken());
  CHECK(barrier.n_waiting() == 0);
}

TEST_CASE("abort breaks the barrier, and reset sends those away who wait", "[threads]") {
  const Barrier barrier(2);
  bool broke = false;
  std::thread first([&] { broke = breaks(barrier); });
  REQUIRE(waiting(barrier, 1));
  SECTION("abort") {
    barrier.abort();
    first.join();
    CHECK(barrier.broken());
  }
  SECTION("reset") {
    barrier.reset();
    first.join();
    CHECK_FALSE(barrier.broken());
    CHECK(barrier.n_waiting() == 0);
  }
  CHECK(broke);
}

TEST_CASE("a killed waiter is not counted at a barrier") {
  const Barrier barrier(2);
  const Count there;
  Process doomed = start([=] { barrier.blocking_wait(); });
  REQUIRE(waiting(barrier, 1));
  doomed.kill();
  doomed.blocking_join();
  CHECK(barrier.n_waiting() == 0);
  Process process = start([=] { support::require(barrier.blocking_wait() < 2, "index"); });
  REQUIRE(waiting(barrier, 1));
  CHECK(barrier.blocking_wait() == 1);
  process.blocking_join();
  CHECK(process.exitcode() == 0);
}

TEST_CASE("one who is killed while leaving does not keep the next round closed") {
  const Barrier barrier(2);
  Process doomed = start([=] { barrier.blocking_wait(); });
  REQUIRE(waiting(barrier, 1));
  doomed.send_signal(SIGSTOP);
  CHECK(barrier.blocking_wait() == 1);
  Process process = start([=] { barrier.blocking_wait(); });
  std::thread killer([&] {
    ::usleep(10000);
    doomed.kill();
  });
  barrier.blocking_wait();
  killer.join();
  doomed.blocking_join();
  process.blocking_join();
  CHECK(process.exitcode() == 0);
}

TEST_CASE("a cancelled wait leaves the barrier") {
  const Barrier barrier(2);
  const auto main = [&]() -> Task<> {
    auto leaving = cofork::spawn(barrier.wait());
    co_await cofork::sleep(2ms);
    CHECK(barrier.n_waiting() == 1);
    leaving.cancel();
    bool cancelled = false;
    try {
      co_await std::move(leaving);
    } catch (const cofork::CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
    CHECK(barrier.n_waiting() == 0);
    CHECK_FALSE(barrier.broken());
    CHECK(throws_logic_error([&] { barrier.blocking_wait(); }));
  };
  cofork::run(main);
}

TEST_CASE("a party whose time is over when the barrier has just opened wakes those who wait for the next round") {
  using cofork::detail::BarrierState;
  const auto barrier = cofork::detail::make_intrusive<BarrierState>(2U);
  BarrierState::Party late(barrier), last(barrier), next(barrier);
  CHECK_FALSE(late.attempt());
  CHECK(last.attempt());
  cofork::detail::BlockingSleep sleep(*barrier, cofork::detail::deadline_of(30s));
  sleep.announce();
  CHECK_FALSE(next.attempt());
  late.give_up();
  CHECK(late.index() == 0);
  pollfd bell = {barrier->bell(), POLLIN, 0};
  CHECK(::poll(&bell, 1, 0) == 1);
  CHECK_FALSE(next.attempt());
  CHECK(barrier->n_waiting() == 1);
}

TEST_CASE(
    "a party whose time is over before those of the last round have left breaks the barrier for the next one only") {
  using cofork::detail::BarrierState;
  const auto barrier = cofork::detail::make_intrusive<BarrierState>(2U);
  BarrierState::Party slow(barrier), last(barrier), next(barrier), late(barrier);
  CHECK_FALSE(slow.attempt());
  CHECK(last.attempt());
  CHECK_FALSE(next.attempt());
  next.give_up();
  CHECK_THROWS_AS(next.index(), BrokenBarrier);
  CHECK(barrier->broken());
  CHECK(late.attempt());
  CHECK_THROWS_AS(late.index(), BrokenBarrier);
  CHECK(slow.attempt());
  CHECK(slow.index() == 0);
  CHECK(barrier->broken());
  barrier->reset();
  CHECK_FALSE(barrier->broken());
}
