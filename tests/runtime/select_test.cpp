#include <cofork/runtime/select.hpp>

#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/shield.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/task_group.hpp>
#include <cofork/runtime/wait.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <memory>
#include <string>

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
concept TakenBySelect = requires(A&& awaitable) {
  select(static_cast<A&&>(awaitable));
};
static_assert(TakenBySelect<Task<int>> && !TakenBySelect<Task<int>&>);
static_assert(TakenBySelect<Stream<int>> && !TakenBySelect<Stream<int>&>);

}  // namespace

TEST_CASE("select gives the first to complete, with its index") {
  run([]() -> Task<> {
    auto second = co_await select(value_after(1, 5), value_after(2, 2));
    static_assert(std::is_same_v<decltype(second), std::variant<int, int>>);
    CHECK(second.index() == 1);
    CHECK(std::get<1>(second) == 2);
    auto nothing = co_await select(sleep(1h), yield_now(), support::value(std::string("text")));
    CHECK(nothing.index() == 2);
    CHECK(std::get<2>(nothing) == "text");
    auto only = co_await select(value_after(3, 1));
    CHECK(std::get<0>(only) == 3);
    auto moved = co_await select(sleep(1h), support::value(std::make_unique<int>(4)));
    CHECK(*std::get<1>(moved) == 4);
  });
}

TEST_CASE("select takes every kind of awaitable") {
  run([]() -> Task<> {
    Future<int> borrowed = spawn(value_after(1, 3));
    auto of_borrowed = co_await select(sleep(1h), borrowed);
    CHECK(std::get<1>(of_borrowed) == 1);
    CHECK(borrowed.result() == 1);
    auto of_stream = co_await select(sleep(1h), support::count_to(2));
    CHECK(std::get<1>(of_stream) == std::vector<int>{1, 2});
    auto of_foreign = co_await select(sleep(1h), support::ForeignAwaiter(3));
    CHECK(std::get<1>(of_foreign) == 3);
    auto of_reference = co_await select(sleep(1h), support::ReferenceAwaiter(4));
    CHECK(std::get<1>(of_reference) == 4);
  });
}

TEST_CASE("the losers of a select have ended when it returns") {
  run([]() -> Task<> {
    Life before;
    Life after;
    Life spawned;
    Future<int> future = spawn(sleeper(spawned, 6));
    auto result = co_await select(sleeper(before, 4), future, value_after(1, 2), sleeper(after, 2));
    CHECK(result.index() == 2);
    CHECK(before.ended);
    CHECK(after.ended);
    CHECK(spawned.ended);
    CHECK(future.cancelled());
  });
}

TEST_CASE("an error of the first to complete is thrown after the losers have ended") {
  run([]() -> Task<> {
    Life life;
    const std::string error = co_await error_of(select(sleeper(life, 4), failure_after("first", 2)));
    CHECK(error == "first");
    CHECK(life.ended);
  });
}

TEST_CASE("what the losers of a select give is dropped") {
  run([]() -> Task<> {
    auto result = co_await select(support::stubborn(1), support::spiteful("dropped"), value_after(2, 1));
    CHECK(result.index() == 2);
    // Both arrive in the same turn.
    Promise<int> one;
    Promise<int> two;
    auto selecting = spawn(select(one.future(), two.future()));
    co_await support::turns(2);
    two.set_result(2);
    one.set_result(1);
    auto first = co_await selecting;
    CHECK(first.index() == 1);
  });
}

TEST_CASE("of those that are complete at once select takes the first and starts no later task") {
  run([]() -> Task<> {
    Life earlier;
    Life later;
    auto result = co_await select(sleeper(earlier), support::value(1), support::value(2), sleeper(later));
    CHECK(result.index() == 1);
    CHECK(earlier.ended);
    CHECK_FALSE(later.started);

    Promise<int> pending;
    Promise<int> done;
    done.set_result(1);
    auto stopped = co_await select(done.future(), pending.future());
    CHECK(stopped.index() == 0);
    CHECK(pending.future().cancelled());
  });
}

TEST_CASE("a select whose awaiter is cancelled cancels all and ends after them") {
  run([]() -> Task<> {
    Life one;
    Life two;
    auto selecting = spawn(select(sleeper(one, 5), sleeper(two)));
    co_await support::turns(2);
    selecting.cancel();
    co_await support::turns(2);
    CHECK(two.ended);
    CHECK_FALSE(selecting.done());
    const bool cancelled = co_await throws<CancelledError>(std::move(selecting));
    CHECK(cancelled);
    CHECK(one.ended);
  });
}

TEST_CASE("a select whose awaiter is cancelled delivers a value that is there") {
  run([]() -> Task<> {
    Promise<int> promise;
    Life life;
    auto selecting = spawn(select(sleeper(life), promise.future()));
    co_await support::turns(2);
    promise.set_result(1);
    selecting.cancel();
    auto result = co_await selecting;
    CHECK(result.index() == 1);

    // Although another was cancelled before it.
    auto stubborn = spawn(select(sleep(1h), support::stubborn(2)));
    co_await support::turns(2);
    stubborn.cancel();
    auto late = co_await stubborn;
    CHECK(late.index() == 1);
  });
}

TEST_CASE("a select of a future that is cancelled by others throws CancelledError") {
  run([]() -> Task<> {
    Life life;
    Promise<int> promise;
    Future<int> future = promise.future();
    auto selecting = spawn(select(sleeper(life), future));
    co_await support::turns(2);
    future.cancel();
    const bool cancelled = co_await throws<CancelledError>(std::move(selecting));
    CHECK(cancelled);
    CHECK(life.ended);
  });
}

TEST_CASE("a select that is destroyed where it waits destroys its children") {
  run([]() -> Task<> {
    support::Counted::reset();
    const auto child = [](support::Counted) -> Task<> { co_await sleep(1h); };
    const auto body = [&]() -> Task<> { co_await select(child(support::Counted(1)), child(support::Counted(2))); };
    support::Started started(body());
    CHECK(support::Counted::alive() > 0);
    started.destroy();
    CHECK(support::Counted::alive() == 0);
    co_return;
  });
}

namespace {

/// A coroutine that is not the library's, and so has no context.
struct Foreign {
  struct promise_type {
    Foreign get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Foreign use_all(std::vector<Future<int>>& futures, int& used) {
  auto selected = co_await select(sleep(1h), value_after(1, 2));
  used += static_cast<int>(selected.index());
  auto [one, two] = co_await gather(value_after(1, 2), value_after(2, 1));
  used += one + two;
  used += co_await wait_for(value_after(1, 2), 1h);
  used += co_await shield(value_after(1, 2));
  const WaitResult waited = co_await wait(futures);
  used += static_cast<int>(waited.done.size());
  const std::vector<int> values = co_await gather(std::move(futures));
  used += values[0];
  const auto body = [](TaskGroup& group) -> Task<int> { co_return co_await group.spawn(value_after(1, 2)); };
  used += co_await with_task_group(body);
}

}  // namespace

TEST_CASE("a coroutine that is not the library's can await the combinators") {
  run([]() -> Task<> {
    std::vector<Future<int>> futures;
    futures.push_back(spawn(value_after(1, 20)));
    int used = 0;
    use_all(futures, used);
    for (int turn = 0; turn < 1000 && used < 9; ++turn) co_await yield_now();
    CHECK(used == 9);
  });
}
