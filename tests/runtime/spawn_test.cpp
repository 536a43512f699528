#include <cofork/runtime/channel.hpp>
#include <cofork/runtime/event.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::Counted;
using support::turns;

namespace {

Task<int> give(int value, int pauses) {
  co_await turns(pauses);
  co_return value;
}

Task<int> hold(Counted counted, bool& started) {
  started = true;
  co_await sleep(1h);
  co_return counted.value;
}

Task<> fail(int pauses) {
  co_await turns(pauses);
  throw std::out_of_range("failed");
}

}  // namespace

TEST_CASE("a spawned task starts in the next turn") {
  run([]() -> Task<> {
    bool started = false;
    const auto body = [&]() -> Task<> {
      started = true;
      co_return;
    };
    Future<void> future = spawn(body());
    CHECK_FALSE(started);
    CHECK_FALSE(future.running());
    CHECK_FALSE(future.done());
    co_await turns(1);
    CHECK(started);
    CHECK(future.done());
    CHECK_FALSE(future.running());
    co_await future;
  });
}

TEST_CASE("spawned tasks start in order and run by turns") {
  run([]() -> Task<> {
    std::string order;
    const auto body = [&](char name) -> Task<> {
      for (int round = 0; round < 3; ++round) {
        order += name;
        co_await yield_now();
      }
    };
    std::vector<Future<void>> futures;
    for (const char name : {'a', 'b', 'c'}) futures.push_back(spawn(body(name)));
    for (Future<void>& future : futures) co_await future;
    CHECK(order == "abcabcabc");
  });
}

TEST_CASE("a spawned task's value comes out of its future") {
  run([]() -> Task<> {
    Future<int> future = spawn(give(7, 3));
    co_await turns(1);
    CHECK(future.running());
    const int& value = co_await future;
    CHECK(value == 7);
    CHECK(future.result() == 7);

    const auto move_only = []() -> Task<std::unique_ptr<int>> { co_return std::make_unique<int>(1); };
    auto pointer_future = spawn(move_only());
    const std::unique_ptr<int> pointer = co_await std::move(pointer_future);
    CHECK(*pointer == 1);

    int object = 3;
    const auto reference = [&]() -> Task<int&> { co_return object; };
    Future<int&> reference_future = spawn(reference());
    int& same = co_await reference_future;
    CHECK(&same == &object);
    int& again = co_await std::move(reference_future);
    CHECK(&again == &object);
  });
}

TEST_CASE("a spawned task's exception comes out of its future") {
  run([]() -> Task<> {
    Future<void> future = spawn(fail(2));
    const auto await = [&]() -> Task<> { co_await future; };
    const bool first = co_await support::throws<std::out_of_range>(await());
    const bool second = co_await support::throws<std::out_of_range>(await());
    CHECK(first);
    CHECK(second);
    CHECK(future.exception() != nullptr);
    CHECK_FALSE(future.cancelled());
  });
}

TEST_CASE("a spawned task whose future is dropped runs on") {
  run([]() -> Task<> {
    bool ended = false;
    const auto body = [&]() -> Task<> {
      co_await turns(3);
      ended = true;
    };
    { const Future<void> dropped = spawn(body()); }
    co_await turns(10);
    CHECK(ended);
  });
}

TEST_CASE("an exception of a spawned task whose future is dropped goes unseen") {
  run([]() -> Task<> {
    { const Future<void> dropped = spawn(fail(1)); }
    co_await turns(5);
  });
}

TEST_CASE("whatever becomes a task can be spawned") {
  run([]() -> Task<> {
    Event event;
    Future<void> waiting = spawn(event.wait());
    Future<void> sleeping = spawn(sleep(1ms));
    co_await turns(2);
    CHECK_FALSE(waiting.done());
    event.set();
    co_await waiting;
    co_await sleeping;

    Channel<std::unique_ptr<int>> channel(0);
    Future<void> sending = spawn(channel.send(std::make_unique<int>(5)));
    Future<std::optional<std::unique_ptr<int>>> receiving = spawn(channel.recv());
    const std::optional<std::unique_ptr<int>> received = co_await std::move(receiving);
    co_await sending;
    CHECK(**received == 5);
  });
}

TEST_CASE("a spawned task that is cancelled before its start never starts, and frees its arguments") {
  Counted::reset();
  run([]() -> Task<> {
    bool started = false;
    Future<int> future = spawn(hold(Counted(), started));
    CHECK(Counted::alive() == 1);
    CHECK(future.cancel());
    CHECK(future.cancelled());
    CHECK(future.done());
    CHECK(Counted::alive() == 0);
    co_await turns(2);
    CHECK_FALSE(started);
    CHECK(future.cancel());
  });
}

TEST_CASE("a spawned task that has not started when main ends never starts") {
  bool started = false;
  const auto body = [&started]() -> Task<> {
    started = true;
    co_return;
  };
  run([&]() -> Task<> {
    auto dropped = spawn(body());
    co_return;
  });
  CHECK_FALSE(started);
}

TEST_CASE("a spawned task that is cancelled while it waits ends at once") {
  Counted::reset();
  bool started = false;
  run([&]() -> Task<> {
    Future<int> future = spawn(hold(Counted(), started));
    co_await turns(1);
    CHECK(future.running());
    CHECK(future.cancel());
    CHECK(future.cancel());
    CHECK_FALSE(future.done());
    co_await turns(1);
    CHECK(future.cancelled());
    CHECK_FALSE(future.running());
    CHECK(Counted::alive() == 0);
    CHECK_THROWS_AS(future.result(), CancelledError);
  });
}

TEST_CASE("a spawned task may end otherwise than by the cancellation that it got") {
  run([]() -> Task<> {
    const auto give_anyway = []() -> Task<int> {
      co_await support::throws<CancelledError>(sleep(1h));
      co_return 5;
    };
    const auto fail_instead = []() -> Task<int> {
      co_await support::throws<CancelledError>(sleep(1h));
      throw std::runtime_error("cleaning up failed");
    };
    Future<int> value = spawn(give_anyway());
    Future<int> error = spawn(fail_instead());
    co_await turns(1);
    CHECK(value.cancel());
    CHECK(error.cancel());
    co_await turns(1);
    CHECK(value.result() == 5);
    CHECK_FALSE(value.cancelled());
    CHECK_THROWS_WITH(error.result(), "cleaning up failed");
    CHECK_FALSE(value.cancel());
  });
}

TEST_CASE("a spawned task that cancels itself gets it at its next wait") {
  std::optional<Future<void>> self;
  bool went_on = false;
  bool after_wait = false;
  const auto body = [&]() -> Task<> {
    self->cancel();
    went_on = true;
    co_await yield_now();
    after_wait = true;
  };
  run([&]() -> Task<> {
    self.emplace(spawn(body()));
    co_await turns(3);
    CHECK(went_on);
    CHECK_FALSE(after_wait);
    CHECK(self->cancelled());
  });
}

TEST_CASE("cancelling a coroutine that awaits a spawned task stops that, and waits for its end") {
  std::vector<std::string> order;
  const auto inner = [&]() -> Task<> {
    co_await support::throws<CancelledError>(sleep(1h));
    order.push_back("inner ended");
  };
  const auto outer = [&]() -> Task<> {
    Future<void> future = spawn(inner());
    try {
      co_await future;
      order.push_back("delivered");
    } catch (const CancelledError&) {
      order.push_back("cancelled");
    }
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(outer());
    co_await turns(3);
    future.cancel();
    co_await future;
    // The inner task ended with a value, which is delivered.
    CHECK(order == std::vector<std::string>{"inner ended", "delivered"});
  });
}

TEST_CASE("a coroutine that was cancelled already stops the task that it awaits") {
  bool inner_cancelled = false;
  const auto inner = [&]() -> Task<> { inner_cancelled = co_await support::throws<CancelledError>(sleep(1h)); };
  const auto outer = [&]() -> Task<> {
    co_await support::throws<CancelledError>(sleep(1h));
    Future<void> started = spawn(inner());
    Future<void> not_started = spawn(inner());
    const auto await = [](Future<void>& future) -> Task<> { co_await future; };
    const bool threw = co_await support::throws<CancelledError>(await(not_started));
    CHECK(threw);
    CHECK(not_started.cancelled());
    co_await support::throws<CancelledError>(await(started));
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(outer());
    co_await turns(2);
    future.cancel();
    co_await future;
    CHECK_FALSE(inner_cancelled);
  });
}

TEST_CASE("a spawned task is independent of the coroutine that spawned it") {
  run([]() -> Task<> {
    std::optional<Future<int>> inner;
    const auto outer = [&]() -> Task<> {
      inner.emplace(spawn(give(4, 10)));
      co_await sleep(1h);
    };
    Future<void> future = spawn(outer());
    co_await turns(2);
    future.cancel();
    co_await turns(2);
    CHECK(future.cancelled());
    CHECK_FALSE(inner->done());
    const int value = co_await *inner;
    CHECK(value == 4);
  });
}

TEST_CASE("a done callback of a spawned task runs before those who await it") {
  run([]() -> Task<> {
    std::vector<int> order;
    Future<int> future = spawn(give(1, 1));
    future.add_done_callback([&](Future<int>& done) { order.push_back(done.result()); });
    co_await future;
    order.push_back(2);
    CHECK(order == std::vector{1, 2});
  });
}

TEST_CASE("spawning needs a loop") { CHECK_THROWS_AS(spawn(give(1, 0)), std::logic_error); }

TEST_CASE("a task that was moved from cannot be spawned or run") {
  Task<int> task = give(1, 0);
  const Task<int> taken(std::move(task));
  CHECK_THROWS_AS(run(std::move(task)), InvalidStateError);
  run([&]() -> Task<> {
    CHECK_THROWS_AS(spawn(std::move(task)), InvalidStateError);
    co_return;
  });
}

TEST_CASE("one hundred thousand spawned tasks run and end", "[limit:120]") {
  run([]() -> Task<> {
    std::vector<Future<int>> futures;
    for (int value = 0; value < 100'000; ++value) futures.push_back(spawn(give(value, value % 3)));
    long long sum = 0;
    for (Future<int>& future : futures) sum += co_await future;
    CHECK(sum == 4'999'950'000);
  });
}

TEST_CASE("tasks spawn tasks in a long chain") {
  struct Spawner {
    Task<int> body(int depth) {
      if (depth == 0) co_return 0;
      Future<int> below = spawn(body(depth - 1));
      const int value = co_await std::move(below);
      co_return value + 1;
    }
  } spawner;
  CHECK(run(spawner.body(20'000)) == 20'000);
}

TEST_CASE("everything that spawned tasks construct is destroyed") {
  Counted::reset();
  bool started = false;
  run([&]() -> Task<> {
    Future<int> cancelled = spawn(hold(Counted(), started));
    Future<int> left_to_run = spawn(hold(Counted(), started));
    co_await turns(1);
    cancelled.cancel();
    const Future<int> never_started = spawn(hold(Counted(), started));
    { const Future<int> dropped = spawn(hold(Counted(), started)); }
    CHECK(Counted::alive() == 4);
  });
  CHECK(Counted::alive() == 0);
}
