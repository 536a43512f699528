#include <cofork/runtime/task_group.hpp>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

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

TEST_CASE("with_task_group gives what its body gives, after every task has ended") {
  run([]() -> Task<> {
    bool finished = false;
    const auto child = [&]() -> Task<> {
      co_await support::turns(5);
      finished = true;
    };
    const auto body = [&](TaskGroup& group) -> Task<std::string> {
      (void)group.spawn(child());
      co_return "result";
    };
    const std::string result = co_await with_task_group(body);
    CHECK(result == "result");
    CHECK(finished);

    const auto empty = [](TaskGroup&) -> Task<> { co_return; };
    co_await with_task_group(empty);
  });
}

TEST_CASE("the futures of a group's tasks give their results") {
  run([]() -> Task<> {
    const auto body = [](TaskGroup& group) -> Task<int> {
      Future<int> one = group.spawn(value_after(1, 3));
      Future<std::unique_ptr<int>> two = group.spawn(support::value(std::make_unique<int>(2)));
      Future<void> nothing = group.spawn<void>(sleep(1ms));
      co_await nothing;
      const std::unique_ptr<int> second = co_await std::move(two);
      co_return co_await std::move(one) + *second;
    };
    const int sum = co_await with_task_group(body);
    CHECK(sum == 3);
  });
}

TEST_CASE("whatever becomes a task can be spawned in a group") {
  run([]() -> Task<> {
    const auto body = [](TaskGroup& group) -> Task<bool> {
      Future<void> sleeping = group.spawn(sleep(1h));
      co_await support::turns(2);
      group.cancel();
      co_return sleeping.done();
    };
    const bool was_done = co_await with_task_group(body);
    CHECK_FALSE(was_done);
  });
}

TEST_CASE("the first failure of a task cancels the body and the others, and is rethrown when they have ended") {
  run([]() -> Task<> {
    Life one;
    Life other;
    Life its_body;
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(one, 5));
      (void)group.spawn(failure_after("first", 2));
      (void)group.spawn(sleeper(other, 2));
      (void)group.spawn(support::spiteful("later"));
      co_await sleeper(its_body, 3);
    };
    const std::string error = co_await error_of(with_task_group(body));
    CHECK(error == "first");
    CHECK(one.ended);
    CHECK(other.ended);
    CHECK(its_body.ended);
  });
}

TEST_CASE("the failure of a task fails the group although the body has finished, or takes no notice") {
  run([]() -> Task<> {
    const auto finished = [](TaskGroup& group) -> Task<int> {
      (void)group.spawn(failure_after("no", 3));
      co_return 1;
    };
    const std::string after = co_await error_of(with_task_group(finished));
    CHECK(after == "no");
    const auto deaf = [](TaskGroup& group) -> Task<int> {
      Future<int> child = group.spawn(failure_after("no", 3));
      const bool caught = co_await throws<support::Failure>(std::move(child));
      CHECK(caught);
      co_return 1;
    };
    const std::string caught = co_await error_of(with_task_group(deaf));
    CHECK(caught == "no");
  });
}

TEST_CASE("a failing body cancels the tasks, and those that have not begun never do") {
  run([]() -> Task<> {
    Life started;
    Life never;
    Future<int> future = spawn(support::value(0));
    const auto body = [&](TaskGroup& group) -> Task<> {
      future = group.spawn(sleeper(started, 3));
      co_await support::turns(2);
      (void)group.spawn(sleeper(never));
      throw support::Failure("body");
    };
    const std::string error = co_await error_of(with_task_group(body));
    CHECK(error == "body");
    CHECK(started.ended);
    CHECK(future.cancelled());
    CHECK_FALSE(never.started);
  });
}

TEST_CASE("a body that is no coroutine and throws leaves no task behind") {
  run([]() -> Task<> {
    Life life;
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(life));
      throw support::Failure("at once");
    };
    const std::string error = co_await error_of(with_task_group(body));
    CHECK(error == "at once");
  });
}

TEST_CASE("a task of a group that is cancelled through its future is no failure") {
  run([]() -> Task<> {
    const auto body = [](TaskGroup& group) -> Task<int> {
      Life life;
      Future<int> before_its_start = group.spawn(sleeper(life));
      CHECK(before_its_start.cancel());
      Future<int> running = group.spawn(sleeper(life));
      co_await support::turns(2);
      CHECK(running.cancel());
      const int value = co_await group.spawn(value_after(1, 5));
      CHECK(running.cancelled());
      CHECK(life.ended);
      co_return value;
    };
    const int value = co_await with_task_group(body);
    CHECK(value == 1);
  });
}

TEST_CASE("a body that awaits a cancelled task fails with CancelledError and cancels the others") {
  run([]() -> Task<> {
    Life life;
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(life, 2));
      Future<int> cancelled = group.spawn(value_after(1, 3));
      co_await yield_now();
      cancelled.cancel();
      co_await cancelled;
    };
    const bool cancelled = co_await throws<CancelledError>(with_task_group(body));
    CHECK(cancelled);
    CHECK(life.ended);
  });
}

TEST_CASE("tasks of a group may spawn others there, after the body has finished too") {
  run([]() -> Task<> {
    int ended = 0;
    const auto leaf = [&]() -> Task<> {
      co_await support::turns(2);
      ++ended;
    };
    const auto root = [&](TaskGroup& group) -> Task<> {
      co_await support::turns(2);
      (void)group.spawn(leaf());
      (void)group.spawn(leaf());
    };
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(root(group));
      co_return;
    };
    co_await with_task_group(body);
    CHECK(ended == 2);
  });
}

TEST_CASE("a group whose tasks spawn without end can be failed") {
  run([]() -> Task<> {
    int hydras = 0;
    struct Hydra {
      static Task<> live(TaskGroup& group, int& count) {
        ++count;
        co_await support::turns(2);
        for (int head = 0; head < 2; ++head) (void)group.spawn(live(group, count));
      }
    };
    const auto hercules = [&]() -> Task<> {
      while (hydras < 10) co_await yield_now();
      throw support::Failure("slain");
    };
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(Hydra::live(group, hydras));
      (void)group.spawn(hercules());
      co_return;
    };
    const std::string error = co_await error_of(with_task_group(body));
    CHECK(error == "slain");
  });
}

TEST_CASE("spawning in a group that has ended is std::logic_error") {
  run([]() -> Task<> {
    TaskGroup* ended = nullptr;
    bool refused = false;
    // Before the group's end reaches its awaiter, in the next turn, the group is still there.
    struct Late {
      TaskGroup*& group;
      bool& refused;
      Task<> spawn_late() const {
        while (!group) co_await yield_now();
        CHECK_THROWS_AS(group->spawn(support::value(1)), std::logic_error);
        refused = true;
      }
    };
    const Late late{ended, refused};
    const Future<void> spawned = spawn(late.spawn_late());
    const auto body = [&](TaskGroup& group) -> Task<> {
      co_await support::turns(3);
      ended = &group;
    };
    const Future<void> group = spawn(with_task_group(body));
    while (!refused) co_await yield_now();
  });
}

TEST_CASE("groups nest: the failure of the outer one cancels the inner one, and that of the inner one fails both") {
  run([]() -> Task<> {
    Life life;
    const auto inner = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(life, 2));
      co_return;
    };
    const auto outer = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(failure_after("outer", 5));
      co_await with_task_group(inner);
    };
    const std::string error = co_await error_of(with_task_group(outer));
    CHECK(error == "outer");
    CHECK(life.ended);

    const auto failing = [](TaskGroup& group) -> Task<> {
      (void)group.spawn(failure_after("inner", 2));
      co_return;
    };
    Life others;
    const auto around = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(others));
      co_await with_task_group(failing);
    };
    const std::string from_inside = co_await error_of(with_task_group(around));
    CHECK(from_inside == "inner");
  });
}

TEST_CASE("a group under wait_for ends in time, with its tasks") {
  run([]() -> Task<> {
    Life life;
    const auto body = [&](TaskGroup& group) -> Task<> {
      (void)group.spawn(sleeper(life));
      co_await sleep(1h);
    };
    const bool timed_out = co_await throws<TimeoutError>(wait_for(with_task_group(body), 2ms));
    CHECK(timed_out);
    CHECK(life.ended == life.started);  // it begins a turn later, if there is time for that
  });
}

TEST_CASE("the body of a group lives as long as its tasks") {
  run([]() -> Task<> {
    bool seen = false;
    auto captured = std::make_shared<int>(5);
    std::weak_ptr<int> watch = captured;
    auto body = [captured = std::move(captured), &seen](TaskGroup& group) -> Task<> {
      const auto child = [](const int& shared, bool& its_seen) -> Task<> {
        co_await support::turns(5);
        its_seen = shared == 5;
      };
      (void)group.spawn(child(*captured, seen));
      co_return;
    };
    Task<> group = with_task_group(std::move(body));
    co_await std::move(group);
    CHECK(seen);
  });
}

TEST_CASE("a group that is destroyed where it waits destroys its tasks before its body") {
  run([]() -> Task<> {
    support::Counted::reset();
    struct Note {
      ~Note() { order += name; }
      std::string& order;
      char name;
    };
    std::string order;
    const auto child = [&](support::Counted) -> Task<> {
      const Note note{order, 'c'};
      co_await sleep(1h);
    };
    const auto body = [&](TaskGroup& group) -> Task<> {
      const Note note{order, 'b'};
      (void)group.spawn(child(support::Counted(1)));
      (void)group.spawn(child(support::Counted(2)));
      co_await sleep(1h);
    };
    const auto with_group = [&]() -> Task<> { co_await with_task_group(body); };
    support::Started started(with_group());
    co_await support::turns(2);
    CHECK(support::Counted::alive() == 2);
    started.destroy();
    CHECK(support::Counted::alive() == 0);
    CHECK(order == "ccb");
  });
}

TEST_CASE("a future of a group's task may outlive the group") {
  run([]() -> Task<> {
    std::vector<Future<int>> kept;
    const auto body = [&](TaskGroup& group) -> Task<> {
      kept.push_back(group.spawn(value_after(1, 2)));
      co_return;
    };
    co_await with_task_group(body);
    CHECK(kept[0].result() == 1);
    CHECK_FALSE(kept[0].kill());
  });
}
