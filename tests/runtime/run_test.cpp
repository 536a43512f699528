#include <signal.h>
#include <uv.h>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>

#include <atomic>
#include <barrier>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::in_child;
using support::require;
using support::turns;

namespace {

Task<int> give(int value) {
  co_await turns(2);
  co_return value;
}

Task<> interrupt() {
  ::raise(SIGINT);
  co_await sleep(1h);
}

// Waits until it is cancelled, and notes that.
Task<> stay(std::vector<int>& ended, int name) {
  struct Note {
    ~Note() { into.push_back(name); }
    std::vector<int>& into;
    int name;
  } const note{ended, name};
  co_await sleep(1h);
}

bool handles_sigint_by(void (*expected)(int)) {
  struct sigaction action;
  return ::sigaction(SIGINT, nullptr, &action) == 0 && action.sa_handler == expected;
}

volatile sig_atomic_t own_handler_calls = 0;
void own_handler(int) { own_handler_calls = own_handler_calls + 1; }

}  // namespace

TEST_CASE("run gives the result of its main task") {
  CHECK(run(give(3)) == 3);
  run([]() -> Task<> { co_await turns(1); });
  const auto move_only = []() -> Task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
  CHECK(*run(move_only()) == 4);
}

TEST_CASE("run throws the exception of its main task") {
  const auto fail = []() -> Task<int> {
    co_await turns(1);
    throw std::out_of_range("failed");
  };
  CHECK_THROWS_AS(run(fail()), std::out_of_range);
  const auto fail_at_once = []() -> Task<int> {
    throw std::out_of_range("failed");
    co_return 0;
  };
  CHECK_THROWS_AS(run(fail_at_once()), std::out_of_range);
}

TEST_CASE("run can be called again and again") {
  for (int round = 0; round < 50; ++round) CHECK(run(give(round)) == round);
}

TEST_CASE("a callable that is run lives until the end, with its captures") {
  auto owned = std::make_unique<std::string>("captured");
  const std::string result = run([text = std::move(owned)]() -> Task<std::string> {
    co_await turns(5);
    co_return *text;
  });
  CHECK(result == "captured");
}

TEST_CASE("whatever becomes a task can be run, also out of a callable") {
  run(sleep(1ms));
  run([] { return yield_now(); });
}

TEST_CASE("a reference that main gives is what run gives") {
  std::unique_ptr<int> value = std::make_unique<int>(1);
  const auto main = [&]() -> Task<std::unique_ptr<int>&> { co_return value; };
  std::unique_ptr<int>& result = run(main);
  CHECK(&result == &value);
}

TEST_CASE("run inside of a running loop is an error, and the outer one goes on") {
  const int result = run([]() -> Task<int> {
    CHECK_THROWS_AS(run(give(1)), std::logic_error);
    co_await turns(1);
    CHECK_THROWS_AS(run(give(1)), std::logic_error);
    co_return 5;
  });
  CHECK(result == 5);
}

TEST_CASE("everything that was spawned is cancelled and awaited when main ends") {
  std::vector<int> ended;
  const int result = run([&]() -> Task<int> {
    Future<void> kept = spawn(stay(ended, 1));
    { const Future<void> dropped = spawn(stay(ended, 2)); }
    co_await turns(1);
    co_return 7;
  });
  CHECK(result == 7);
  CHECK(ended == std::vector{1, 2});
}

TEST_CASE("everything that was spawned is cancelled and awaited when main fails") {
  std::vector<int> ended;
  const auto fail = [&]() -> Task<> {
    const Future<void> future = spawn(stay(ended, 1));
    co_await turns(1);
    throw std::runtime_error("main failed");
  };
  CHECK_THROWS_WITH(run(fail()), "main failed");
  CHECK(ended == std::vector{1});
}

TEST_CASE("what a task spawns while it is cancelled at the end ends as well") {
  std::vector<int> ended;
  const auto body = [&]() -> Task<> {
    co_await support::throws<CancelledError>(sleep(1h));
    const Future<void> late = spawn(stay(ended, 2));
    ended.push_back(1);
  };
  run([&]() -> Task<> {
    const Future<void> future = spawn(body());
    co_await turns(1);
  });
  CHECK(ended == std::vector{1, 2});
}

TEST_CASE("a task that ignores its cancellation at the end is waited for") {
  bool finished = false;
  const auto body = [&]() -> Task<> {
    for (int round = 0; round < 10; ++round) co_await support::throws<CancelledError>(yield_now());
    finished = true;
  };
  run([&]() -> Task<> {
    const Future<void> future = spawn(body());
    co_await turns(1);
  });
  CHECK(finished);
}

TEST_CASE("run works in every thread, also in several at once", "[threads]") {
  // All loops are open at once, and closed before the next are opened: ThreadSanitizer does not see libuv close its
  // descriptors, and takes a number that is used again for a race.
  std::barrier together(4);
  std::atomic<int> sum = 0;
  const auto body = [&](int number) -> Task<int> {
    together.arrive_and_wait();
    Future<int> other = spawn(give(number));
    co_await sleep(1ms);
    const int value = co_await std::move(other);
    co_return value;
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      for (int round = 0; round < 20; ++round) {
        sum += run(body(number));
        together.arrive_and_wait();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(sum == 20 * (0 + 1 + 2 + 3));
}

TEST_CASE("run works in another thread while it does in this one", "[threads]") {
  run([]() -> Task<> {
    int result = 0;
    std::thread other([&] { result = run(give(6)); });
    co_await turns(3);
    other.join();
    CHECK(result == 6);
  });
}

TEST_CASE("run borrows a libuv loop and leaves its handles alone") {
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  uv_timer_t timer;
  REQUIRE(uv_timer_init(&loop, &timer) == 0);
  int ticks = 0;
  timer.data = &ticks;
  REQUIRE(uv_timer_start(
              &timer, [](uv_timer_t* self) { ++*static_cast<int*>(self->data); }, 1, 1) == 0);
  const auto until_ticks = [&](int count) -> Task<int> {
    CHECK(Loop::current().uv() == &loop);
    while (ticks < count) co_await sleep(1ms);
    co_return ticks;
  };
  CHECK(run(loop, until_ticks(3)) >= 3);
  CHECK(uv_is_active(reinterpret_cast<uv_handle_t*>(&timer)));
  CHECK(run(loop, until_ticks(6)) >= 6);
  const auto fail = []() -> Task<> {
    throw std::runtime_error("failed");
    co_return;
  };
  CHECK_THROWS_AS(run(loop, fail()), std::runtime_error);

  // Nothing of the library's is left on it.
  int handles = 0;
  uv_walk(
      &loop, [](uv_handle_t*, void* count) { ++*static_cast<int*>(count); }, &handles);
  CHECK(handles == 1);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
  CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&loop) == 0);
}

TEST_CASE("SIGINT cancels main, and run throws KeyboardInterrupt") {
  static_assert(std::is_base_of_v<CancelledError, KeyboardInterrupt>);
  const auto child = in_child([] {
    std::vector<int> ended;
    bool cancelled = false;
    const auto body = [&]() -> Task<> {
      const Future<void> other = spawn(stay(ended, 1));
      co_await turns(1);
      cancelled = co_await support::throws<CancelledError>(interrupt());
      co_await yield_now();
      require(false, "a cancelled main does not go on");
    };
    bool thrown = false;
    try {
      run(body());
    } catch (const KeyboardInterrupt&) {
      thrown = true;
    }
    require(cancelled, "main was cancelled");
    require(thrown, "run threw KeyboardInterrupt");
    require(ended == std::vector{1}, "the spawned task was cancelled and awaited");
    require(handles_sigint_by(SIG_DFL), "SIGINT has its default again");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("SIGINT reaches a main that never lets the loop rest") {
  const auto child = in_child([] {
    const auto body = []() -> Task<> {
      ::raise(SIGINT);
      for (;;) co_await yield_now();
    };
    try {
      run(body());
    } catch (const KeyboardInterrupt&) {
      return;
    }
    require(false, "not reached");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a main that handles SIGINT's cancellation gives its result, or its own error") {
  const auto child = in_child([] {
    const auto give_anyway = []() -> Task<int> {
      co_await support::throws<CancelledError>(interrupt());
      co_return 9;
    };
    require(run(give_anyway()) == 9, "the result");
    const auto fail_instead = []() -> Task<int> {
      co_await support::throws<CancelledError>(interrupt());
      throw std::out_of_range("other");
    };
    bool thrown = false;
    try {
      run(fail_instead());
    } catch (const std::out_of_range&) {
      thrown = true;
    }
    require(thrown, "the error of main itself");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a main that cancels itself does not end with KeyboardInterrupt") {
  const auto child = in_child([] {
    const auto body = []() -> Task<> {
      throw CancelledError("by itself");
      co_return;
    };
    bool thrown = false;
    try {
      run(body());
    } catch (const KeyboardInterrupt&) {
    } catch (const CancelledError&) {
      thrown = true;
    }
    require(thrown, "CancelledError");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a second SIGINT kills the program") {
  const auto child = in_child([] {
    const auto body = []() -> Task<> {
      co_await support::throws<CancelledError>(interrupt());
      ::raise(SIGINT);
      require(false, "not reached");
    };
    run(body());
  });
  INFO(child.output);
  CHECK(child.signal == SIGINT);
}

TEST_CASE("a second SIGINT kills the program also if its loop has not heard of the first") {
  const auto child = in_child([] {
    const auto body = []() -> Task<> {
      for (int i = 0; i < 2; ++i) ::raise(SIGINT);
      require(false, "not reached");
      co_return;
    };
    run(body());
  });
  INFO(child.output);
  CHECK(child.signal == SIGINT);
}

TEST_CASE("SIGINT has its default before and after run") {
  const auto child = in_child([] {
    require(handles_sigint_by(SIG_DFL), "before");
    run([]() -> Task<> {
      require(!handles_sigint_by(SIG_DFL), "meanwhile");
      co_return;
    });
    require(handles_sigint_by(SIG_DFL), "after");
    ::raise(SIGINT);
  });
  INFO(child.output);
  CHECK(child.signal == SIGINT);
}

TEST_CASE("a SIGINT that the program ignores stays ignored") {
  const auto child = in_child([] {
    ::signal(SIGINT, SIG_IGN);
    run([]() -> Task<> {
      ::raise(SIGINT);
      co_await sleep(5ms);
      ::raise(SIGINT);
      co_await sleep(5ms);
    });
    require(handles_sigint_by(SIG_IGN), "still ignored");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a SIGINT that the program handles itself stays its own") {
  const auto child = in_child([] {
    ::signal(SIGINT, own_handler);
    run([]() -> Task<> {
      ::raise(SIGINT);
      co_await sleep(5ms);
    });
    require(own_handler_calls == 1, "the handler was called");
    require(handles_sigint_by(own_handler), "still handled");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("only the main thread's run takes SIGINT", "[threads]") {
  const auto child = in_child([] {
    std::thread other([] {
      run([]() -> Task<> {
        require(handles_sigint_by(SIG_DFL), "not taken");
        co_return;
      });
    });
    other.join();
  });
  INFO(child.output);
  CHECK(child.succeeded());
}
