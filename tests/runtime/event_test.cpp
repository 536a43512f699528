#include <cofork/runtime/event.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <optional>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

namespace {

Task<> note(Event& event, std::vector<int>& order, int name) {
  co_await event.wait();
  order.push_back(name);
}

}  // namespace

TEST_CASE("an event is clear at first") {
  Event event;
  CHECK_FALSE(event.is_set());
  event.set();
  CHECK(event.is_set());
  event.set();
  CHECK(event.is_set());
  event.clear();
  CHECK_FALSE(event.is_set());
}

TEST_CASE("waiting for an event that is set does not wait") {
  Event event;
  run([&]() -> Task<> {
    event.set();
    bool others_ran = false;
    const auto other = [&]() -> Task<> {
      others_ran = true;
      co_return;
    };
    Future<void> spawned = spawn(other());
    co_await event.wait();
    CHECK_FALSE(others_ran);
    co_await spawned;
  });
}

TEST_CASE("setting an event wakes everyone who waits, in order, in the next turn") {
  Event event;
  std::vector<int> order;
  run([&]() -> Task<> {
    const Future<void> first = spawn(note(event, order, 1));
    const Future<void> second = spawn(note(event, order, 2));
    co_await turns(2);
    const Future<void> third = spawn(note(event, order, 3));
    co_await turns(2);
    CHECK(order.empty());
    event.set();
    CHECK(order.empty());
    co_await turns(1);
    CHECK(order == std::vector{1, 2, 3});
    CHECK(third.done());
  });
}

TEST_CASE("who waited for an event goes on although it was cleared before their turn") {
  Event event;
  std::vector<int> order;
  run([&]() -> Task<> {
    const Future<void> first = spawn(note(event, order, 1));
    co_await turns(1);
    event.set();
    event.clear();
    const Future<void> second = spawn(note(event, order, 2));
    co_await turns(2);
    CHECK(order == std::vector{1});
    event.set();
    co_await turns(1);
    CHECK(order == std::vector{1, 2});
  });
}

TEST_CASE("cancelling ends the wait for an event and leaves the others waiting") {
  Event event;
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> first = spawn(note(event, order, 1));
    const Future<void> second = spawn(note(event, order, 2));
    co_await turns(1);
    CHECK(first.cancel());
    co_await turns(1);
    CHECK(first.cancelled());
    CHECK_FALSE(second.done());
    event.set();
    co_await turns(1);
    CHECK(order == std::vector{2});
  });
}

TEST_CASE("an event that was set before the cancellation is delivered") {
  Event event;
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> waiter = spawn(note(event, order, 1));
    co_await turns(1);
    event.set();
    waiter.cancel();
    co_await turns(1);
    CHECK(order == std::vector{1});
    CHECK_FALSE(waiter.cancelled());
  });
}

TEST_CASE("in a cancelled coroutine the wait for an event ends at once") {
  Event event;
  bool set_one_throws = true;
  bool clear_one_throws = false;
  run([&]() -> Task<> {
    const auto body = [&]() -> Task<> {
      co_await support::throws<CancelledError>(sleep(1h));
      event.set();
      set_one_throws = co_await support::throws<CancelledError>(event.wait());
      event.clear();
      clear_one_throws = co_await support::throws<CancelledError>(event.wait());
    };
    Future<void> task = spawn(body());
    co_await turns(1);
    task.cancel();
    co_await task;
    CHECK_FALSE(set_one_throws);
    CHECK(clear_one_throws);
  });
}

TEST_CASE("a coroutine that is destroyed while it waits for an event leaves it") {
  Event event;
  std::vector<int> order;
  run([&]() -> Task<> {
    support::Started first(note(event, order, 1));
    support::Started second(note(event, order, 2));
    first.destroy();
    event.set();
    second.destroy();
    co_await turns(2);
    CHECK(order.empty());
  });
}

TEST_CASE("who waits for an event that is destroyed can still be cancelled") {
  std::optional<Event> event(std::in_place);
  std::vector<int> order;
  run([&]() -> Task<> {
    Future<void> waiter = spawn(note(*event, order, 1));
    co_await turns(1);
    event.reset();
    waiter.cancel();
    co_await turns(1);
    CHECK(waiter.cancelled());
  });
}

TEST_CASE("the wait for an event converts to a task") {
  run([]() -> Task<> {
    Event event;
    Future<void> waiter = spawn<void>(event.wait());
    co_await turns(1);
    CHECK_FALSE(waiter.done());
    event.set();
    co_await waiter;
  });
}
