#include <cofork/runtime/wait_for.hpp>

#include <chrono>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <type_traits>
#include <vector>

#include "runtime/combinators.hpp"
#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::error_of;
using support::Life;
using support::sleeper;
using support::throws;

namespace {

template <class A>
concept TakenByWaitFor = requires(A&& awaitable) {
  wait_for(static_cast<A&&>(awaitable), 1s);
};

static_assert(TakenByWaitFor<Task<int>>);
static_assert(!TakenByWaitFor<Task<int>&>);
static_assert(TakenByWaitFor<Future<int>> && TakenByWaitFor<Future<int>&>);
static_assert(TakenByWaitFor<Stream<int>>);
static_assert(!TakenByWaitFor<Stream<int>&>);
static_assert(TakenByWaitFor<support::WithMemberOperator> && TakenByWaitFor<support::WithFreeOperator>);
static_assert(!TakenByWaitFor<int>);

static_assert(std::is_same_v<await_result_t<Task<int>>, int>);
static_assert(std::is_same_v<await_result_t<Task<int&>>, int&>);
static_assert(std::is_same_v<await_result_t<Future<int>>, int>);
static_assert(std::is_same_v<await_result_t<Future<int>&>, int&>);
static_assert(std::is_same_v<await_result_t<Future<void>&>, void>);
static_assert(std::is_same_v<await_result_t<Stream<int>>, std::vector<int>>);
static_assert(std::is_same_v<await_result_t<Stream<void>>, void>);
static_assert(std::is_same_v<decltype(wait_for(std::declval<Future<int>&>(), 1s)), Task<int&>>);

}  // namespace

TEST_CASE("wait_for gives what the work gives in time") {
  run([]() -> Task<> {
    const int at_once = co_await wait_for(support::value(1), 1h);
    CHECK(at_once == 1);
    const int later = co_await wait_for(support::value_after(2, 3), 1h);
    CHECK(later == 2);
    const std::string error = co_await error_of(wait_for(support::failure_after("no", 2), 1h));
    CHECK(error == "no");
    co_await wait_for(sleep(1ms), 1h);
    std::unique_ptr<int> moved = co_await wait_for(support::value(std::make_unique<int>(3)), 1h);
    CHECK(*moved == 3);
  });
}

TEST_CASE("wait_for takes every kind of awaitable") {
  run([]() -> Task<> {
    Future<int> future = spawn(support::value_after(1, 2));
    int& borrowed = co_await wait_for(future, 1h);
    CHECK(&borrowed == &future.result());
    Future<int> other = spawn(support::value_after(2, 2));
    const int owned = co_await wait_for(std::move(other), 1h);
    CHECK(owned == 2);
    const std::vector<int> collected = co_await wait_for(support::count_to(3), 1h);
    CHECK(collected == std::vector<int>{1, 2, 3});
    const int from_awaiter = co_await wait_for(support::ForeignAwaiter(3), 1h);
    CHECK(from_awaiter == 3);
    support::WithMemberOperator with_member{4};
    const int from_member = co_await wait_for(std::move(with_member), 1h);
    CHECK(from_member == 4);
    support::WithFreeOperator with_free{5};
    const int from_free = co_await wait_for(std::move(with_free), 1h);
    CHECK(from_free == 5);
    Stream<int> stream = support::count_to(1);
    const std::optional<int> next = co_await wait_for(stream.next(), 1h);
    CHECK(next == 1);
  });
}

TEST_CASE("wait_for throws TimeoutError when the work has been cancelled and has ended") {
  run([]() -> Task<> {
    Life life;
    const bool timed_out = co_await throws<TimeoutError>(wait_for(sleeper(life, 5), 2ms));
    CHECK(timed_out);
    CHECK(life.cancelled);
    CHECK(life.ended);
  });
}

TEST_CASE("the TimeoutError of wait_for says the limit") {
  run([]() -> Task<> {
    const auto message = [](std::chrono::nanoseconds limit) -> Task<std::string> {
      co_return co_await error_of(wait_for(sleep(1h), limit));
    };
    const std::string milliseconds = co_await message(2ms);
    CHECK(milliseconds == "wait_for: not done within 2 ms");
    const std::string fraction = co_await message(1500us);
    CHECK(fraction == "wait_for: not done within 1.5 ms");
    const std::string microseconds = co_await message(10us);
    CHECK(microseconds == "wait_for: not done within 10 us");
    const std::string zero = co_await message(0s);
    CHECK(zero == "wait_for: not done within 0 s");
    const std::string negative = co_await message(-1s);
    CHECK(negative == "wait_for: not done within -1 s");
  });
}

TEST_CASE("wait_for without time lets work complete that need not wait, and no other") {
  run([]() -> Task<> {
    for (const std::chrono::nanoseconds limit : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
      const int at_once = co_await wait_for(support::value(1), limit);
      CHECK(at_once == 1);
      Future<int> done = spawn(support::value(2));
      co_await done;
      const int of_done = co_await wait_for(done, limit);
      CHECK(of_done == 2);

      Life life;
      Future<int> running = spawn(sleeper(life));
      co_await yield_now();
      CHECK(life.started);
      const bool timed_out = co_await throws<TimeoutError>(wait_for(running, limit));
      CHECK(timed_out);
      CHECK(running.cancelled());
      CHECK(life.ended);
    }
  });
}

TEST_CASE("wait_for stops the work of a future, owned or borrowed") {
  run([]() -> Task<> {
    Life life;
    Future<int> future = spawn(sleeper(life, 3));
    co_await support::turns(1);
    bool timed_out = co_await throws<TimeoutError>(wait_for(future, 1ms));
    CHECK(timed_out);
    CHECK(future.cancelled());
    CHECK(life.ended);

    Life other;
    Future<int> begun = spawn(sleeper(other));
    co_await support::turns(1);
    timed_out = co_await throws<TimeoutError>(wait_for(std::move(begun), 1ms));
    CHECK(timed_out);
    CHECK(other.ended);
  });
}

TEST_CASE("wait_for gives a future up that cannot be stopped") {
  run([]() -> Task<> {
    Promise<int> promise;
    promise.set_running_or_notify_cancel();
    Future<int> future = promise.future();
    const bool timed_out = co_await throws<TimeoutError>(wait_for(future, 1ms));
    CHECK(timed_out);
    CHECK_FALSE(future.done());
    promise.set_result(1);
  });
}

TEST_CASE("wait_for delivers what cancelled work gives nevertheless") {
  run([]() -> Task<> {
    const int value = co_await wait_for(support::stubborn(42), 1ms);
    CHECK(value == 42);
    const std::string error = co_await error_of(wait_for(support::spiteful("instead"), 1ms));
    CHECK(error == "instead");
  });
}

TEST_CASE("wait_for waits for an awaitable that knows nothing of cancellation") {
  run([]() -> Task<> {
    const int value = co_await wait_for(support::ForeignAwaiter(1), 0s);
    CHECK(value == 1);
  });
}

TEST_CASE("wait_for of work that was cancelled by others throws CancelledError") {
  run([]() -> Task<> {
    Life life;
    Future<int> future = spawn(sleeper(life));
    auto waiting = [](Future<int>& waited) -> Task<bool> {
      co_return co_await throws<CancelledError>(wait_for(waited, 1h));
    };
    Future<bool> waiter = spawn(waiting(future));
    co_await support::turns(3);
    future.cancel();
    const bool cancelled = co_await waiter;
    CHECK(cancelled);
  });
}

TEST_CASE("cancelling the awaiter of wait_for cancels the work and waits for its end") {
  run([]() -> Task<> {
    Life life;
    Future<int> waiter = spawn(wait_for(sleeper(life, 4), 1h));
    co_await support::turns(2);
    CHECK(life.started);
    CHECK(waiter.cancel());
    co_await support::turns(1);
    CHECK(life.cancelled);
    CHECK_FALSE(waiter.done());
    const bool cancelled = co_await throws<CancelledError>(std::move(waiter));
    CHECK(cancelled);
    CHECK(life.ended);
  });
}

TEST_CASE("an awaiter of wait_for that is cancelled after the time was over gets CancelledError") {
  run([]() -> Task<> {
    Life life;
    Future<int> waiter = spawn(wait_for(sleeper(life, 5), 1ms));
    while (!life.cancelled) co_await yield_now();
    CHECK_FALSE(life.ended);
    waiter.cancel();
    const bool cancelled = co_await throws<CancelledError>(std::move(waiter));
    CHECK(cancelled);
    CHECK(life.ended);
  });
}

TEST_CASE("a value that arrives just before its awaiter is cancelled is delivered by wait_for") {
  run([]() -> Task<> {
    Promise<int> promise;
    Future<int> work = promise.future();
    Future<int&> waiter = spawn(wait_for(work, 1h));
    co_await support::turns(2);
    promise.set_result(1);
    waiter.cancel();
    const int value = co_await waiter;
    CHECK(value == 1);
  });
}

TEST_CASE("wait_for is lazy, and dropping it drops the work") {
  run([]() -> Task<> {
    support::Counted::reset();
    Life life;
    {
      auto with_argument = [](Life& its, support::Counted) -> Task<int> { co_return co_await sleeper(its); };
      Task<int> never = wait_for(with_argument(life, support::Counted(1)), 1h);
      co_await support::turns(2);
    }
    CHECK_FALSE(life.started);
    CHECK(support::Counted::constructed > 0);
    CHECK(support::Counted::alive() == 0);
  });
}

TEST_CASE("wait_for counts the time from the await") {
  run([]() -> Task<> {
    Task<> limited = wait_for(sleep(1h), 50ms);
    co_await sleep(60ms);
    const auto begin = std::chrono::steady_clock::now();
    const bool timed_out = co_await throws<TimeoutError>(std::move(limited));
    CHECK(timed_out);
    CHECK(std::chrono::steady_clock::now() - begin >= 50ms);
  });
}

TEST_CASE("a wait_for that is destroyed where it waits destroys its work") {
  run([]() -> Task<> {
    support::Counted::reset();
    const auto body = []() -> Task<> {
      const auto inner = [](support::Counted) -> Task<> { co_await sleep(1h); };
      co_await wait_for(inner(support::Counted(1)), 1h);
    };
    support::Started started(body());
    CHECK(support::Counted::alive() > 0);
    started.destroy();
    CHECK(support::Counted::alive() == 0);
    co_return;
  });
}

TEST_CASE("wait_for nests, and the nearer limit counts") {
  run([]() -> Task<> {
    const std::string outer = co_await error_of(wait_for(wait_for(sleep(1h), 1h), 1ms));
    CHECK(outer == "wait_for: not done within 1 ms");
    const std::string inner = co_await error_of(wait_for(wait_for(sleep(1h), 1ms), 1h));
    CHECK(inner == "wait_for: not done within 1 ms");
  });
}

TEST_CASE("the longest limit never ends") {
  run([]() -> Task<> {
    const int value = co_await wait_for(support::value_after(1, 2), std::chrono::nanoseconds::max());
    CHECK(value == 1);
  });
}
