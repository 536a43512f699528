#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task_group.hpp>
#include <string>

#include "runtime/combinators.hpp"
#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::error_of;
using support::Life;
using support::sleeper;
using support::throws;

TEST_CASE("cancelling a group cancels its tasks and what its body waits for") {
  run([]() -> Task<> {
    Life child;
    Life never;
    Life its_body;
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(child, 3));
      co_await support::turns(2);
      (void)group.spawn(sleeper(never));
      group.cancel();
      Future<int> refused = group.spawn(sleeper(never));
      CHECK(refused.cancelled());
      co_await sleeper(its_body);
    };
    const bool cancelled = co_await throws<CancelledError>(with_task_group(body));
    CHECK(cancelled);
    CHECK(child.ended);
    CHECK(its_body.ended);
    CHECK_FALSE(never.started);
  });
}

TEST_CASE("a cancelled group gives the value of a body that finishes") {
  run([]() -> Task<> {
    Life life;
    const auto body = [&](TaskGroup& group) -> Task<int> {
      (void)group.spawn(sleeper(life, 3));
      co_await support::turns(2);
      group.cancel();
      co_return 7;
    };
    const int value = co_await with_task_group(body);
    CHECK(value == 7);
    CHECK(life.ended);

    // And one whose task does it after the body has finished.
    const auto ender = [](TaskGroup& group) -> Task<> {
      co_await support::turns(2);
      group.cancel();
    };
    const auto finished = [&](TaskGroup& group) -> Task<int> {
      (void)group.spawn(sleeper(life));
      (void)group.spawn(ender(group));
      co_return 8;
    };
    const int other = co_await with_task_group(finished);
    CHECK(other == 8);
  });
}

TEST_CASE("an error in the wake of a group's cancellation is a failure") {
  run([]() -> Task<> {
    const auto body = [](TaskGroup& group) -> Task<> {
      (void)group.spawn(support::spiteful("cleanup"));
      co_await support::turns(2);
      group.cancel();
      co_await sleep(1h);
    };
    const std::string error = co_await error_of(with_task_group(body));
    CHECK(error == "cleanup");
  });
}

TEST_CASE("cancelling the awaiter of a group cancels body and tasks and waits for them") {
  run([]() -> Task<> {
    Life child;
    Life its_body;
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(child, 6));
      co_await sleeper(its_body, 2);
    };
    Future<void> group = spawn(with_task_group(body));
    co_await support::turns(3);
    group.cancel();
    co_await support::turns(4);
    CHECK(its_body.ended);
    CHECK_FALSE(group.done());
    const bool cancelled = co_await throws<CancelledError>(std::move(group));
    CHECK(cancelled);
    CHECK(child.ended);
  });
}

TEST_CASE(
    "a group whose awaiter is cancelled after the body has finished throws CancelledError if tasks were cut short") {
  run([]() -> Task<> {
    Life child;
    const auto cut_short = [&](TaskGroup& group) -> Task<int> {
      (void)group.spawn(sleeper(child));
      co_return 1;
    };
    Future<int> first = spawn(with_task_group(cut_short));
    co_await support::turns(3);
    first.cancel();
    const bool cancelled = co_await throws<CancelledError>(std::move(first));
    CHECK(cancelled);

    const auto complete = [](TaskGroup& group) -> Task<int> {
      (void)group.spawn(support::stubborn(0));
      co_return 2;
    };
    Future<int> second = spawn(with_task_group(complete));
    co_await support::turns(3);
    second.cancel();
    const int value = co_await second;
    CHECK(value == 2);
  });
}

TEST_CASE("errors outrank the cancellation of a group's awaiter") {
  run([]() -> Task<> {
    const auto body = [](TaskGroup& group) -> Task<> {
      (void)group.spawn(support::spiteful("cleanup"));
      co_await sleep(1h);
    };
    Future<void> group = spawn(with_task_group(body));
    co_await support::turns(3);
    group.cancel();
    const std::string error = co_await error_of(std::move(group));
    CHECK(error == "cleanup");
  });
}
