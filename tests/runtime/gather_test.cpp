#include <cofork/runtime/gather.hpp>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <string>
#include <type_traits>

#include "runtime/combinators.hpp"
#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::error_of;
using support::failure_after;
using support::Life;
using support::sleeper;
using support::throws;
using support::value_after;

namespace {

template <class A>
concept TakenByGather = requires(A&& awaitable) {
  gather(static_cast<A&&>(awaitable), sleep(1s));
};
static_assert(TakenByGather<Task<int>> && !TakenByGather<Task<int>&>);
static_assert(TakenByGather<Stream<int>> && !TakenByGather<Stream<int>&>);

template <class T>
std::vector<T> vector_of(T first, T second) {
  std::vector<T> both;
  both.push_back(std::move(first));
  both.push_back(std::move(second));
  return both;
}

}  // namespace

TEST_CASE("gather gives all results in the order of the arguments") {
  run([]() -> Task<> {
    auto [slow, text, nothing] = co_await gather(value_after(1, 5), support::value(std::string("two")), sleep(1ms));
    static_assert(std::is_same_v<decltype(nothing), std::monostate>);
    CHECK(slow == 1);
    CHECK(text == "two");
  });
}

TEST_CASE("gather takes every kind of awaitable at once") {
  run([]() -> Task<> {
    Future<int> borrowed = spawn(value_after(1, 2));
    Future<int> owned = spawn(value_after(2, 1));
    auto future_results = co_await gather(borrowed, std::move(owned), borrowed);
    static_assert(std::is_same_v<decltype(future_results), std::tuple<int, int, int>>);
    CHECK(future_results == std::tuple(1, 2, 1));
    CHECK(borrowed.result() == 1);
    support::WithMemberOperator with_member{4};
    support::WithFreeOperator with_free{5};
    auto [collected, awaiter, member, free] =
        co_await gather(support::count_to(2), support::ForeignAwaiter(3), std::move(with_member), std::move(with_free));
    CHECK(collected == std::vector<int>{1, 2});
    CHECK(awaiter == 3);
    CHECK(member == 4);
    CHECK(free == 5);
    auto [copied, other] = co_await gather(support::ReferenceAwaiter(8), support::ReferenceAwaiter(9));
    static_assert(std::is_same_v<decltype(copied), int>);
    CHECK(copied == 8);
    CHECK(other == 9);
    auto [moved, same] = co_await gather(support::value(std::make_unique<int>(6)), support::value(7));
    CHECK(*moved == 6);
    CHECK(same == 7);
  });
}

TEST_CASE("gather starts its children in order, when it is awaited") {
  run([]() -> Task<> {
    std::string order;
    const auto child = [&](char name) -> Task<> {
      order += name;
      co_await yield_now();
      order += name;
    };
    auto both = gather(child('a'), child('b'));
    co_await support::turns(2);
    CHECK(order.empty());
    co_await std::move(both);
    CHECK(order == "abab");
  });
}

TEST_CASE("the first error of a gather cancels the others, waits for them, and is rethrown") {
  run([]() -> Task<> {
    Life before;
    Life after;
    const std::string error =
        co_await error_of(gather(sleeper(before, 4), failure_after("first", 2), sleeper(after, 2)));
    CHECK(error == "first");
    CHECK(before.ended);
    CHECK(after.ended);
  });
}

TEST_CASE("errors of a gather after the first are dropped") {
  run([]() -> Task<> {
    const std::string error = co_await error_of(gather(support::spiteful("later"), failure_after("first", 1)));
    CHECK(error == "first");
  });
}

TEST_CASE("a child of a gather that fails at once keeps later tasks from beginning") {
  run([]() -> Task<> {
    Life before;
    Life after;
    const std::string error = co_await error_of(gather(sleeper(before), failure_after("at once", 0), sleeper(after)));
    CHECK(error == "at once");
    CHECK(before.ended);
    CHECK_FALSE(after.started);
  });
}

TEST_CASE("a failing gather stops the futures among its children, wherever they stand") {
  run([]() -> Task<> {
    Life first;
    Life last;
    Future<int> before = spawn(sleeper(first, 3));
    Future<int> after = spawn(sleeper(last, 3));
    co_await yield_now();
    const std::string error = co_await error_of(gather(before, failure_after("at once", 0), after));
    CHECK(error == "at once");
    CHECK(before.cancelled());
    CHECK(after.cancelled());
    CHECK(first.ended);
    CHECK(last.ended);
  });
}

TEST_CASE("a gather whose awaiter is cancelled cancels all and ends after them") {
  run([]() -> Task<> {
    Life one;
    Life two;
    auto gathering = spawn(gather(sleeper(one, 5), sleeper(two, 1)));
    co_await support::turns(2);
    gathering.cancel();
    co_await support::turns(3);
    CHECK(two.ended);
    CHECK_FALSE(gathering.done());
    const bool cancelled = co_await throws<CancelledError>(std::move(gathering));
    CHECK(cancelled);
    CHECK(one.ended);
  });
}

TEST_CASE("a gather whose awaiter is cancelled when all values are there delivers them") {
  run([]() -> Task<> {
    Promise<int> one;
    Promise<int> two;
    auto gathering = spawn(gather(one.future(), two.future()));
    co_await support::turns(2);
    one.set_result(1);
    two.set_result(2);
    gathering.cancel();
    const std::tuple<int, int> values = co_await gathering;
    CHECK(values == std::tuple(1, 2));

    auto stubborn = spawn(gather(support::stubborn(3), support::stubborn(4)));
    co_await support::turns(2);
    stubborn.cancel();
    const std::tuple<int, int> others = co_await stubborn;
    CHECK(others == std::tuple(3, 4));
  });
}

TEST_CASE("a gather that is destroyed where it waits destroys its children") {
  run([]() -> Task<> {
    support::Counted::reset();
    const auto child = [](support::Counted) -> Task<> { co_await sleep(1h); };
    const auto body = [&]() -> Task<> { co_await gather(child(support::Counted(1)), child(support::Counted(2))); };
    const auto body_of_vector = [&]() -> Task<> {
      std::vector<Task<>> tasks;
      tasks.push_back(child(support::Counted(3)));
      co_await gather(std::move(tasks));
    };
    support::Started started(body());
    support::Started with_vector(body_of_vector());
    CHECK(support::Counted::alive() > 0);
    started.destroy();
    with_vector.destroy();
    CHECK(support::Counted::alive() == 0);
    co_return;
  });
}

TEST_CASE("gather of a vector of tasks gives a vector of their results") {
  run([]() -> Task<> {
    const std::vector<int> values = co_await gather(vector_of(value_after(1, 3), value_after(2, 1)));
    CHECK(values == std::vector<int>{1, 2});
    const std::vector<bool> flags = co_await gather(vector_of(support::value(true), support::value(false)));
    CHECK(flags == std::vector<bool>{true, false});
    co_await gather(vector_of<Task<>>(sleep(1ms), sleep(1ms)));
    const std::vector<int> none = co_await gather(std::vector<Task<int>>());
    CHECK(none.empty());
    co_await gather(std::vector<Task<>>());
  });
}

TEST_CASE("gather of a vector of tasks: the first error cancels the rest") {
  run([]() -> Task<> {
    Life life;
    const std::string error = co_await error_of(gather(vector_of(sleeper(life, 3), failure_after("no", 2))));
    CHECK(error == "no");
    CHECK(life.ended);
  });
}

TEST_CASE("gather of a vector of futures gives a vector of their results") {
  run([]() -> Task<> {
    const std::vector<int> values = co_await gather(vector_of(spawn(value_after(1, 3)), spawn(value_after(2, 1))));
    CHECK(values == std::vector<int>{1, 2});
    auto moved = co_await gather(
        vector_of(spawn(support::value(std::make_unique<int>(1))), spawn(support::value(std::make_unique<int>(2)))));
    CHECK(*moved[1] == 2);
    co_await gather(vector_of<Future<void>>(spawn<void>(sleep(1ms)), spawn<void>(sleep(0ms))));
    Future<int> done = spawn(support::value(1));
    Future<int> done_too = spawn(support::value(2));
    co_await support::turns(2);
    const std::vector<int> of_done = co_await gather(vector_of(std::move(done), std::move(done_too)));
    CHECK(of_done == std::vector<int>{1, 2});
    const std::vector<int> none = co_await gather(std::vector<Future<int>>());
    CHECK(none.empty());
    co_await gather(std::vector<Future<void>>());
  });
}

TEST_CASE("gather of a vector of futures: the first error stops the others and waits for them") {
  run([]() -> Task<> {
    for (const int turns : {0, 3}) {
      Life life;
      auto futures = vector_of(spawn(sleeper(life, 5)), spawn(failure_after("no", turns)));
      futures.push_back(spawn(support::spiteful("later")));
      co_await support::turns(2);
      const std::string error = co_await error_of(gather(std::move(futures)));
      CHECK(error == "no");
      CHECK(life.ended);
    }
  });
}

TEST_CASE("gather of a vector of futures does not wait for one that cannot be stopped") {
  run([]() -> Task<> {
    Promise<int> running;
    running.set_running_or_notify_cancel();
    Promise<int> failing;
    auto gathering = spawn(gather(vector_of(running.future(), failing.future())));
    co_await support::turns(2);
    failing.set_exception(std::make_exception_ptr(support::Failure("no")));
    const std::string error = co_await error_of(std::move(gathering));
    CHECK(error == "no");

    Promise<int> pending;
    auto cancelled = spawn(gather(vector_of(running.future(), pending.future())));
    co_await support::turns(2);
    cancelled.cancel();
    co_await support::turns(2);
    CHECK(cancelled.cancelled());
    CHECK(pending.future().cancelled());
    CHECK_FALSE(running.future().done());
    running.set_result(1);
  });
}

TEST_CASE("gather of a vector of futures, one of them cancelled, throws CancelledError") {
  run([]() -> Task<> {
    Promise<int> one;
    Promise<int> two;
    one.future().cancel();
    const bool at_once = co_await throws<CancelledError>(gather(vector_of(one.future(), two.future())));
    CHECK(at_once);
    CHECK(two.future().cancelled());
  });
}

TEST_CASE("gather of a vector of futures whose awaiter is cancelled stops them all and ends after them") {
  run([]() -> Task<> {
    Life one;
    Life two;
    auto gathering = spawn(gather(vector_of(spawn(sleeper(one, 5)), spawn(sleeper(two)))));
    co_await support::turns(3);
    gathering.cancel();
    co_await support::turns(2);
    CHECK_FALSE(gathering.done());
    const bool cancelled = co_await throws<CancelledError>(std::move(gathering));
    CHECK(cancelled);
    CHECK(one.ended);
    CHECK(two.ended);
  });
}

TEST_CASE("gather of a vector of futures in a cancelled coroutine stops them") {
  run([]() -> Task<> {
    Life life;
    bool interrupted = false;
    const auto body = [&]() -> Task<> {
      std::vector<Future<int>> futures;
      futures.push_back(spawn(sleeper(life)));
      try {
        co_await sleep(1h);
      } catch (const CancelledError&) {
      }
      interrupted = co_await throws<CancelledError>(gather(std::move(futures)));
    };
    Future<void> task = spawn(body());
    co_await support::turns(2);
    task.cancel();
    co_await task;
    CHECK(interrupted);
    CHECK(life.ended);
  });
}

TEST_CASE("a gather of futures that is destroyed where it waits stops them") {
  run([]() -> Task<> {
    Promise<int> promise;
    std::vector<Future<int>> futures;
    futures.push_back(promise.future());
    const auto body = [](std::vector<Future<int>> its) -> Task<> { co_await gather(std::move(its)); };
    support::Started started(body(std::move(futures)));
    started.destroy();
    CHECK(promise.future().cancelled());
    co_return;
  });
}

TEST_CASE("gather of a hundred thousand") {
  run([]() -> Task<> {
    constexpr int count = 100'000;
    std::vector<Task<int>> tasks;
    std::vector<Future<int>> futures;
    for (int i = 0; i < count; ++i) {
      tasks.push_back(value_after(i, 2));
      futures.push_back(spawn(value_after(i, 2)));
    }
    const std::vector<int> of_tasks = co_await gather(std::move(tasks));
    const std::vector<int> of_futures = co_await gather(std::move(futures));
    CHECK(of_tasks.size() == count);
    CHECK(of_tasks.back() == count - 1);
    CHECK(of_futures == of_tasks);
  });
}

namespace {
Task<int> deep(int depth) {
  if (depth == 0) co_return 0;
  auto [below, nothing] = co_await gather(deep(depth - 1), yield_now());
  co_return below + 1;
}
}  // namespace

TEST_CASE("gathers nest deeply") {
  run([]() -> Task<> {
    const int depth = co_await deep(10'000);
    CHECK(depth == 10'000);
  });
}
