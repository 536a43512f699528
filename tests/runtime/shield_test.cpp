#include <cofork/runtime/shield.hpp>

#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <type_traits>

#include "runtime/combinators.hpp"
#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::error_of;
using support::Life;
using support::throws;

namespace {

template <class A>
concept TakenByShield = requires(A&& awaitable) {
  shield(static_cast<A&&>(awaitable));
};
static_assert(TakenByShield<Task<int>> && !TakenByShield<Task<int>&>);
static_assert(TakenByShield<Stream<int>> && !TakenByShield<Stream<int>&>);
static_assert(std::is_same_v<decltype(shield(std::declval<Future<int>&>())), Task<int&>>);
static_assert(std::is_same_v<decltype(shield(std::declval<Future<int>>())), Task<int>>);
static_assert(std::is_same_v<decltype(shield(std::declval<Future<void>&>())), Task<void>>);

Task<> set_after(bool& flag, int turns) {
  co_await support::turns(turns);
  flag = true;
}

}  // namespace

TEST_CASE("shield gives what the work gives") {
  run([]() -> Task<> {
    const int of_task = co_await shield(support::value_after(1, 2));
    CHECK(of_task == 1);
    Future<int> future = spawn(support::value_after(2, 2));
    int& borrowed = co_await shield(future);
    CHECK(&borrowed == &future.result());
    const int owned = co_await shield(std::move(future));
    CHECK(owned == 2);
    const std::vector<int> collected = co_await shield(support::count_to(2));
    CHECK(collected == std::vector<int>{1, 2});
    support::WithMemberOperator foreign{3};
    const int of_foreign = co_await shield(std::move(foreign));
    CHECK(of_foreign == 3);
    co_await shield(sleep(1ms));
    const std::string error = co_await error_of(shield(support::failure_after("no", 1)));
    CHECK(error == "no");
  });
}

TEST_CASE("cancelling the waiter of a shielded task leaves the task running") {
  run([]() -> Task<> {
    bool finished = false;
    Future<void> waiter = spawn(shield(set_after(finished, 5)));
    co_await support::turns(3);
    waiter.cancel();
    co_await support::turns(2);
    CHECK(waiter.cancelled());
    CHECK_FALSE(finished);
    co_await support::turns(5);
    CHECK(finished);
  });
}

TEST_CASE("cancelling the waiter of a shielded future leaves its work running, borrowed or owned") {
  run([]() -> Task<> {
    bool finished = false;
    Future<void> work = spawn(set_after(finished, 6));
    Future<void> waiter = spawn(shield(work));
    co_await support::turns(2);
    waiter.cancel();
    const bool cancelled = co_await throws<CancelledError>(std::move(waiter));
    CHECK(cancelled);
    CHECK_FALSE(work.done());
    co_await work;
    CHECK(finished);

    bool other_finished = false;
    Future<void> owner = spawn(shield(spawn(set_after(other_finished, 6))));
    co_await support::turns(2);
    owner.cancel();
    co_await support::turns(10);
    CHECK(owner.cancelled());
    CHECK(other_finished);
  });
}

TEST_CASE("the work of a shield that is cancelled itself throws CancelledError at the waiter") {
  run([]() -> Task<> {
    Life life;
    Future<int> work = spawn(support::sleeper(life));
    Future<int&> waiter = spawn(shield(work));
    co_await support::turns(2);
    work.cancel();
    const bool cancelled = co_await throws<CancelledError>(std::move(waiter));
    CHECK(cancelled);
  });
}

TEST_CASE("shield under wait_for: the time is over and the work goes on") {
  run([]() -> Task<> {
    for (const std::chrono::nanoseconds limit : {0ms, 1ms}) {
      bool release = false;
      const auto body = [&]() -> Task<int> {
        while (!release) co_await yield_now();
        co_return 7;
      };
      Future<int> work = spawn(body());
      const bool timed_out = co_await throws<TimeoutError>(wait_for(shield(work), limit));
      CHECK(timed_out);
      CHECK_FALSE(work.done());
      release = true;
      const int value = co_await work;
      CHECK(value == 7);
    }
  });
}

TEST_CASE("cancelling a gather of shields cancels none of their work, and a shielded gather goes on") {
  run([]() -> Task<> {
    Promise<int> one;
    Promise<int> two;
    Future<int> first = one.future();
    Future<int> second = two.future();
    Future<std::tuple<int, int>> gatherer = spawn(gather(shield(first), shield(second)));
    Future<std::tuple<int, int>> shielder = spawn(shield(gather(one.future(), two.future())));
    co_await support::turns(3);
    gatherer.cancel();
    shielder.cancel();
    co_await support::turns(3);
    CHECK(gatherer.cancelled());
    CHECK(shielder.cancelled());
    CHECK_FALSE(first.done());
    CHECK_FALSE(second.done());
    one.set_result(1);
    two.set_result(2);
  });
}

TEST_CASE("in a cancelled coroutine shield still starts its work") {
  run([]() -> Task<> {
    bool finished = false;
    bool interrupted = false;
    const auto body = [&]() -> Task<> {
      try {
        co_await sleep(1h);
      } catch (const CancelledError&) {
      }
      interrupted = co_await throws<CancelledError>(shield(set_after(finished, 2)));
    };
    Future<void> cancelled = spawn(body());
    co_await support::turns(2);
    cancelled.cancel();
    co_await cancelled;
    CHECK(interrupted);
    co_await support::turns(5);
    CHECK(finished);
  });
}

TEST_CASE("a shield that is not awaited starts nothing") {
  run([]() -> Task<> {
    Life life;
    { const Task<int> never = shield(support::sleeper(life)); }
    co_await support::turns(2);
    CHECK_FALSE(life.started);
  });
}

TEST_CASE("run cancels shielded work at its end") {
  Life life;
  run([&]() -> Task<> {
    Future<int> waiter = spawn(shield(support::sleeper(life)));
    co_await support::turns(3);
    waiter.cancel();
    co_await support::turns(3);
    CHECK(life.started);
    CHECK_FALSE(life.ended);
  });
  CHECK(life.ended);
}
