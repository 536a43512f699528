#include <cofork/runtime/event.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/mutex.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <stdexcept>
#include <string>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

TEST_CASE("dump_tasks names what runs and what it waits for") {
  Event event;
  Mutex mutex;
  const auto wait_for_event = [&]() -> Task<> { co_await event.wait(); };
  const auto nap = []() -> Task<> { co_await sleep(1h); };
  const auto lock = [&]() -> Task<> { const Guard guard = co_await mutex.lock(); };
  const std::string tree = run([&]() -> Task<std::string> {
    const Guard guard = co_await mutex.lock();
    Future<void> first = spawn(wait_for_event());
    const Future<void> second = spawn(nap());
    const Future<void> third = spawn(lock());
    const auto await_first = [&]() -> Task<> { co_await first; };
    const Future<void> fourth = spawn(await_first());
    co_await turns(1);
    std::string dumped = dump_tasks();
    event.set();
    co_await turns(2);
    co_return dumped;
  });
  CHECK(tree ==
        "loop\n"
        "  main\n"
        "  spawned task: waits for an event\n"
        "  spawned task: waits for sleep\n"
        "  spawned task: waits for a mutex\n"
        "  spawned task: waits for a future\n");
}

TEST_CASE("dump_tasks marks what is cancelled, and leaves the tree as it was") {
  const auto nap = []() -> Task<> { co_await sleep(1h); };
  run([&]() -> Task<> {
    Future<void> first = spawn(nap());
    const Future<void> second = spawn(nap());
    co_await turns(1);
    first.cancel();
    const std::string tree = dump_tasks();
    CHECK(tree ==
          "loop\n"
          "  main\n"
          "  spawned task (cancelled)\n"
          "  spawned task: waits for sleep\n");
    CHECK(dump_tasks() == tree);
    co_await turns(1);
    CHECK(dump_tasks() ==
          "loop\n"
          "  main\n"
          "  spawned task: waits for sleep\n");
  });
}

TEST_CASE("dump_tasks needs a loop") { CHECK_THROWS_AS(dump_tasks(), std::logic_error); }
