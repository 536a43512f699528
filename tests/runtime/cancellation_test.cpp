#include <cofork/runtime/event.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/this_context.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using detail::Context;
using support::turns;

namespace {

// Notes its name when it is destroyed, and whether that is by an exception.
struct Note {
  Note(std::vector<std::string>& target, std::string which) : into(target), name(std::move(which)) {}
  ~Note() { into.push_back(name + (std::uncaught_exceptions() > 0 ? " unwound" : " ended")); }
  std::vector<std::string>& into;
  std::string name;
};

struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Detached take_token(std::stop_token& token) { token = co_await current_stop_token(); }

}  // namespace

TEST_CASE("a cancellation is thrown where the innermost coroutine waits, and unwinds them all") {
  std::vector<std::string> notes;
  const auto innermost = [&]() -> Task<> {
    const Note note(notes, "innermost");
    co_await sleep(1h);
  };
  const auto middle = [&]() -> Task<> {
    const Note note(notes, "middle");
    co_await innermost();
  };
  const auto outermost = [&]() -> Task<> {
    const Note note(notes, "outermost");
    co_await middle();
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(outermost());
    co_await turns(1);
    future.cancel();
    CHECK(notes.empty());
    co_await turns(1);
    CHECK(future.cancelled());
    CHECK(notes == std::vector<std::string>{"innermost unwound", "middle unwound", "outermost unwound"});
  });
}

TEST_CASE("a cancellation can be caught at any level, and the others go on") {
  std::vector<int> reached;
  const auto inner = []() -> Task<> { co_await sleep(1h); };
  const auto outer = [&]() -> Task<> {
    try {
      co_await inner();
    } catch (const CancelledError&) {
      reached.push_back(1);
    }
    reached.push_back(2);
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(outer());
    co_await turns(1);
    future.cancel();
    co_await future;
    CHECK(reached == std::vector{1, 2});
    CHECK_FALSE(future.cancelled());
  });
}

TEST_CASE("a coroutine that caught its cancellation gets it again at its next wait, and at every one") {
  int thrown = 0;
  Event never;
  Promise<int> promise;
  const auto body = [&]() -> Task<> {
    for (int round = 0; round < 3; ++round) {
      thrown += co_await support::throws<CancelledError>(sleep(1h));
      thrown += co_await support::throws<CancelledError>(yield_now());
      thrown += co_await support::throws<CancelledError>(never.wait());
      thrown += co_await support::throws<CancelledError>(promise.future());
    }
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await turns(1);
    future.cancel();
    co_await future;
    CHECK(thrown == 12);
  });
}

TEST_CASE("a coroutine that is cancelled while it does not wait gets it at its next wait") {
  bool first = false;
  const auto body = [&](Event& event) -> Task<> {
    co_await event.wait();
    first = true;
    co_await sleep(1h);
  };
  Event event;
  run([&]() -> Task<> {
    Future<void> future = spawn(body(event));
    co_await turns(1);
    event.set();
    future.cancel();
    co_await turns(1);
    CHECK(first);
    CHECK(future.cancelled());
  });
}

TEST_CASE("a cancelled coroutine can await whatever does not wait") {
  int sum = 0;
  const auto give = [](int value) -> Task<int> { co_return value; };
  const auto body = [&]() -> Task<> {
    co_await support::throws<CancelledError>(sleep(1h));
    for (int value = 0; value < 10; ++value) sum += co_await give(value);
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await turns(1);
    future.cancel();
    co_await future;
    CHECK(sum == 45);
  });
}

TEST_CASE("cancelling one coroutine leaves its siblings alone") {
  const auto body = []() -> Task<> { co_await turns(5); };
  run([&]() -> Task<> {
    Future<void> first = spawn(body());
    Future<void> second = spawn(body());
    co_await turns(1);
    first.cancel();
    co_await second;
    CHECK(first.cancelled());
    CHECK_FALSE(second.cancelled());
  });
}

TEST_CASE("a cancelled coroutine's error can be replaced while it unwinds") {
  const auto body = []() -> Task<> {
    try {
      co_await sleep(1h);
    } catch (const CancelledError&) {
      throw std::runtime_error("replaced");
    }
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await turns(1);
    future.cancel();
    co_await turns(1);
    CHECK_THROWS_WITH(future.result(), "replaced");
  });
}

TEST_CASE("a stop token tells of the cancellation") {
  std::stop_token token;
  int called = 0;
  const auto body = [&]() -> Task<> {
    token = co_await current_stop_token();
    const std::stop_callback callback(token, [&] { ++called; });
    CHECK(token.stop_possible());
    co_await sleep(1h);
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await turns(1);
    CHECK_FALSE(token.stop_requested());
    future.cancel();
    CHECK(token.stop_requested());
    CHECK(called == 1);
    future.cancel();
    CHECK(called == 1);
    co_await turns(1);
  });
  CHECK(token.stop_requested());
}

TEST_CASE("a stop token that is asked for after the cancellation knows of it") {
  bool requested = false;
  const auto body = [&]() -> Task<> {
    co_await support::throws<CancelledError>(sleep(1h));
    const std::stop_token token = co_await current_stop_token();
    requested = token.stop_requested();
  };
  run([&]() -> Task<> {
    Future<void> future = spawn(body());
    co_await turns(1);
    future.cancel();
    co_await future;
    CHECK(requested);
  });
}

TEST_CASE("coroutines that await one another have the same stop token, spawned ones another") {
  const auto get = []() -> Task<std::stop_token> { co_return co_await current_stop_token(); };
  run([&]() -> Task<> {
    const std::stop_token own = co_await current_stop_token();
    const std::stop_token awaited = co_await get();
    Future<std::stop_token> future = spawn(get());
    const std::stop_token spawned = co_await std::move(future);
    CHECK(own == awaited);
    CHECK_FALSE(own == spawned);
  });
}

TEST_CASE("a coroutine that is not the library's has a stop token that never stops") {
  run([]() -> Task<> {
    std::stop_token token = co_await current_stop_token();
    take_token(token);
    CHECK_FALSE(token.stop_possible());
  });
}

TEST_CASE("a stop callback may cancel other coroutines, and its own") {
  std::optional<Future<void>> first;
  std::optional<Future<void>> second;
  const auto wait = []() -> Task<> { co_await sleep(1h); };
  const auto body = [&]() -> Task<> {
    const std::stop_token token = co_await current_stop_token();
    const std::stop_callback callback(token, [&] {
      second->cancel();
      first->cancel();
    });
    co_await sleep(1h);
  };
  run([&]() -> Task<> {
    first.emplace(spawn(body()));
    second.emplace(spawn(wait()));
    co_await turns(1);
    first->cancel();
    co_await turns(1);
    CHECK(first->cancelled());
    CHECK(second->cancelled());
  });
}

TEST_CASE("cancelling a context cancels everything below it, and what is attached later") {
  Context top("top"), middle("middle"), bottom("bottom"), other("other"), late("late");
  middle.attach(&top);
  bottom.attach(&middle);
  other.attach(nullptr);
  top.cancel();
  CHECK(middle.cancelled());
  CHECK(bottom.cancelled());
  CHECK_FALSE(other.cancelled());
  late.attach(&middle);
  CHECK(late.cancelled());
}

TEST_CASE("a context that left its parent is not cancelled with it") {
  Context top("top"), child("child");
  child.attach(&top);
  child.detach();
  top.cancel();
  CHECK_FALSE(child.cancelled());
}

TEST_CASE("contexts can be destroyed in any order") {
  auto parent = std::make_unique<Context>("parent");
  auto child = std::make_unique<Context>("child");
  Context grandchild("grandchild");
  child->attach(parent.get());
  grandchild.attach(child.get());
  parent.reset();
  child->cancel();
  CHECK(grandchild.cancelled());
  child.reset();
  CHECK_FALSE(grandchild.linked());
}
