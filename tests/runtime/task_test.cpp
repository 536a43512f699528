#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using support::Counted;
using support::turns;

namespace {

Task<> set(bool& flag) {
  flag = true;
  co_return;
}

Task<int> give(int value) { co_return value; }

Task<int> fail() {
  throw std::out_of_range("no such thing");
  co_return 0;
}

Task<int> value_of(Counted counted) { co_return counted.value; }

Task<Counted> give_counted(int value) {
  Counted local(value);
  co_await yield_now();
  co_return local;
}

// `depth` tasks that await one another; the last one waits for `pauses` turns.
Task<int> chain(int depth, int pauses) {
  if (depth == 0) {
    co_await turns(pauses);
    co_return 0;
  }
  const int below = co_await chain(depth - 1, pauses);
  co_return below + 1;
}

Task<int> failing_chain(int depth, int pauses) {
  if (depth == 0) {
    co_await turns(pauses);
    throw std::runtime_error("from the bottom");
  }
  const int below = co_await failing_chain(depth - 1, pauses);
  co_return below + 1;
}

struct Base {
  virtual ~Base() = default;
  virtual int number() const { return 1; }
};
struct Derived : Base {
  int number() const override { return 2; }
};

// A coroutine type that knows nothing of the library, and runs by itself.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Detached await_all(std::vector<int>& results, bool& done) {
  results.push_back(co_await give(1));
  co_await turns(2);
  results.push_back(co_await chain(3, 1));
  done = true;
}

}  // namespace

TEST_CASE("a task does not start until it is awaited") {
  run([]() -> Task<> {
    bool started = false;
    Task<> task = set(started);
    co_await turns(3);
    CHECK_FALSE(started);
    co_await std::move(task);
    CHECK(started);
  });
}

TEST_CASE("a task that is never awaited never starts, and frees its arguments") {
  Counted::reset();
  bool started = false;
  {
    const Task<> never = set(started);
    const Task<int> with_argument = value_of(Counted(3));
    CHECK(Counted::alive() == 1);
  }
  CHECK_FALSE(started);
  CHECK(Counted::alive() == 0);
}

TEST_CASE("a task runs without waiting for its turn") {
  run([]() -> Task<> {
    bool started = false;
    Task<> task = set(started);
    co_await std::move(task);
    CHECK(started);
    const int value = co_await give(42);
    CHECK(value == 42);
  });
}

TEST_CASE("a task's result moves out") {
  const auto make = [](std::string text) -> Task<std::unique_ptr<std::string>> {
    co_return std::make_unique<std::string>(std::move(text));
  };
  const auto pass_on = [&](int depth, auto& self) -> Task<std::unique_ptr<std::string>> {
    if (depth == 0) {
      auto made = make("text");
      co_return co_await std::move(made);
    }
    auto below = self(depth - 1, self);
    co_return co_await std::move(below);
  };
  const std::unique_ptr<std::string> result = run(pass_on(10, pass_on));
  CHECK(*result == "text");
}

TEST_CASE("a task of a reference gives that very object") {
  int object = 1;
  const auto refer = [&]() -> Task<int&> { co_return object; };
  const auto refer_const = [&]() -> Task<const int&> { co_return object; };
  run([&]() -> Task<> {
    auto task = refer();
    int& reference = co_await std::move(task);
    CHECK(&reference == &object);
    auto const_task = refer_const();
    const int& const_reference = co_await std::move(const_task);
    CHECK(&const_reference == &object);
  });
  int& result = run(refer());
  CHECK(&result == &object);
}

TEST_CASE("a task of a reference to a base class gives a derived object") {
  Derived object;
  const auto refer = [&]() -> Task<Base&> { co_return object; };
  Base& result = run(refer());
  CHECK(&result == &object);
  CHECK(result.number() == 2);
}

TEST_CASE("what a task returns is converted to its result") {
  const auto text = []() -> Task<std::string> { co_return "text"; };
  const auto some = []() -> Task<std::optional<int>> { co_return 3; };
  const auto none = []() -> Task<std::optional<int>> { co_return std::nullopt; };
  const auto list = []() -> Task<std::vector<int>> { co_return {1, 2, 3}; };
  CHECK(run(text()) == "text");
  CHECK(run(some()) == 3);
  CHECK_FALSE(run(none()).has_value());
  CHECK(run(list()) == std::vector{1, 2, 3});
}

TEST_CASE("a task's exception is thrown to its awaiter, through all levels") {
  run([]() -> Task<> {
    const bool direct = co_await support::throws<std::out_of_range>(fail());
    CHECK(direct);
    std::string said;
    try {
      co_await failing_chain(10, 1);
    } catch (const std::runtime_error& error) {
      said = error.what();
    }
    CHECK(said == "from the bottom");
  });
}

TEST_CASE("a task that threw can be followed by others") {
  run([]() -> Task<> {
    int sum = 0;
    for (int round = 0; round < 100; ++round) {
      try {
        sum += co_await fail();
      } catch (const std::out_of_range&) {
        ++sum;
      }
      sum += co_await give(1);
    }
    CHECK(sum == 200);
  });
}

TEST_CASE("everything that a task constructs is destroyed, once") {
  Counted::reset();
  run([]() -> Task<> {
    Counted argument(5);
    const int value = co_await value_of(std::move(argument));
    CHECK(value == 5);
    const Counted result = co_await give_counted(7);
    CHECK(result.value == 7);
    const auto throwing = [](Counted) -> Task<> {
      Counted local;
      co_await yield_now();
      throw std::runtime_error("error");
    };
    Counted copied(1);
    auto task = throwing(copied);
    const bool threw = co_await support::throws<std::runtime_error>(std::move(task));
    CHECK(threw);
    CHECK(Counted::alive() == 3);
  });
  CHECK(Counted::alive() == 0);
}

TEST_CASE("a result that nobody takes is destroyed with the task") {
  Counted::reset();
  run([]() -> Task<> {
    (void)co_await give_counted(1);
    CHECK(Counted::alive() == 0);
  });
}

TEST_CASE("a task can be moved before it is awaited") {
  run([]() -> Task<> {
    Counted::reset();
    Task<int> first = value_of(Counted(1));
    Task<int> second = value_of(Counted(2));
    first = std::move(second);
    CHECK(Counted::alive() == 1);
    Task<int> third(std::move(first));
    const int value = co_await std::move(third);
    CHECK(value == 2);
    CHECK(Counted::alive() == 0);
  });
}

TEST_CASE("awaiting a task a second time is an error") {
  run([]() -> Task<> {
    Task<int> task = give(1);
    co_await std::move(task);
    const bool throws = co_await support::throws<InvalidStateError>(std::move(task));
    CHECK(throws);
  });
}

TEST_CASE("tasks can be kept in a container and awaited in any order") {
  run([]() -> Task<> {
    std::vector<Task<int>> tasks;
    for (int value = 0; value < 100; ++value) tasks.push_back(give(value));
    int sum = 0;
    while (!tasks.empty()) {
      sum += co_await std::move(tasks.back());
      tasks.pop_back();
    }
    CHECK(sum == 4950);
  });
}

TEST_CASE("a million awaits that complete at once use no stack") {
  const int sum = run([]() -> Task<int> {
    int total = 0;
    for (int round = 0; round < 1'000'000; ++round) total += co_await give(1);
    co_return total;
  });
  CHECK(sum == 1'000'000);
}

TEST_CASE("a chain of 100 000 tasks completes", "[limit:120]") {
  // With 0 its tasks end as they return to one another; with 1 each is resumed by the end of the one below.
  const int pauses = GENERATE(0, 1);
  CHECK(run(chain(100'000, pauses)) == 100'000);
}

TEST_CASE("an exception passes through a chain of 100 000 tasks", "[limit:120]") {
  const int pauses = GENERATE(0, 1);
  CHECK_THROWS_AS(run(failing_chain(100'000, pauses)), std::runtime_error);
}

TEST_CASE("a chain of tasks that is destroyed where it waits destroys the innermost first") {
  run([]() -> Task<> {
    std::vector<int> order;
    struct Note {
      Note(std::vector<int>& target, int which) : into(target), name(which) {}
      ~Note() { into.push_back(name); }
      std::vector<int>& into;
      int name;
    };
    const auto nest = [&](int depth, auto& self) -> Task<> {
      const Note note(order, depth);
      if (depth < 3) {
        auto below = self(depth + 1, self);
        co_await std::move(below);
      } else {
        co_await sleep(std::chrono::hours(1));
      }
    };
    support::Started started(nest(1, nest));
    started.destroy();
    CHECK(order == std::vector{3, 2, 1});
    co_return;
  });
}

TEST_CASE("tasks can be awaited by coroutines that are not the library's") {
  std::vector<int> results;
  run([&]() -> Task<> {
    bool done = false;
    await_all(results, done);
    CHECK(results == std::vector{1});
    for (int turn = 0; turn < 20 && !done; ++turn) co_await turns(1);
    CHECK(done);
  });
  CHECK(results == std::vector{1, 3});
}

TEST_CASE("awaitables of others work in the library's coroutines") {
  struct Immediate {
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<>) const { return false; }
    int await_resume() const { return 7; }
  };
  struct Convertible {
    Immediate operator co_await() const { return {}; }
  };
  run([]() -> Task<> {
    co_await std::suspend_never();
    const int first = co_await Immediate();
    const int second = co_await Convertible();
    CHECK(first + second == 14);
  });
}
