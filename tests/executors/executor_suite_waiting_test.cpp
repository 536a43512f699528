// Waiting for futures of every executor, alone and mixed: CPython's test_concurrent_futures (test_wait.py,
// test_as_completed.py), and this library's combinators.
#include <algorithm>
#include <cofork/runtime/as_completed.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/select.hpp>
#include <cofork/runtime/shield.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/to_thread.hpp>
#include <cofork/runtime/wait.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <iterator>
#include <optional>
#include <variant>

#include "executors/executor_suite.hpp"

using namespace pool_test;
using namespace executor_test;
using cofork::Future;
using cofork::ReturnWhen;
using cofork::Task;
using cofork::WaitResult;

namespace {

using Indices = std::vector<std::size_t>;

std::vector<Future<int>> list_of(Future<int> a, Future<int> b, Future<int> c) {
  std::vector<Future<int>> futures;
  futures.push_back(std::move(a));
  futures.push_back(std::move(b));
  futures.push_back(std::move(c));
  return futures;
}

/// Has the process forked that forks the pool's workers. Not beside a thread that is about to start: it may hold a
/// lock of the sanitizer's allocator, and with g++ 12 that would be locked for ever in the forked process.
Task<> fork_before_threads(cofork::ProcessPoolExecutor& pool) {
  co_await pool.submit([] {});
}

int open_and_fail(int gate) {
  ++Shared::at(static_cast<std::size_t>(gate));
  throw std::domain_error("failed");
}

}  // namespace

TEMPLATE_TEST_CASE("wait returns when the first of an executor's futures is done", "[executor][threads]",
                   COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const OpenGates at_end{5};
    if (!is_concurrent<TestType>) Shared::at(5) = 1;
    std::vector<Future<int>> futures =
        list_of(executor.submit(wait_at_gate, 0, 5), executor.submit(square, 3), executor.submit(square, 4));
    const cofork::WaitOptions first_completed{.return_when = ReturnWhen::first_completed};
    const WaitResult result = co_await cofork::wait(futures, first_completed);
    CHECK_FALSE(result.done.empty());
    if (is_concurrent<TestType>) CHECK(result.not_done.front() == 0);
    Shared::at(5) = 1;
    const WaitResult all = co_await cofork::wait(futures);
    CHECK(all.done == Indices{0, 1, 2});
    CHECK(all.not_done.empty());
  });
}

TEMPLATE_TEST_CASE("wait returns at the first failure of an executor's futures", "[executor][threads]",
                   COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const OpenGates at_end{5};
    if (!is_concurrent<TestType>) Shared::at(5) = 1;
    std::vector<Future<int>> futures =
        list_of(executor.submit(wait_at_gate, 0, 5), executor.submit(square, 3), executor.submit(open_and_fail, 1));
    const cofork::WaitOptions first_exception{.return_when = ReturnWhen::first_exception};
    const WaitResult result = co_await cofork::wait(futures, first_exception);
    CHECK(std::ranges::find(result.done, 2u) != result.done.end());
    if (is_concurrent<TestType>) CHECK(result.not_done.front() == 0);
    CHECK(error_of<std::domain_error>(futures[2]) == "failed");
    // One that has failed already.
    const WaitResult again = co_await cofork::wait(futures, first_exception);
    CHECK(std::ranges::find(again.done, 2u) != again.done.end());
    if (is_concurrent<TestType>) CHECK(again.not_done.front() == 0);
  });
}

TEMPLATE_TEST_CASE("wait returns at its timeout with what an executor has done", "[executor][threads]",
                   COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const OpenGates at_end{5};
    if (!is_concurrent<TestType>) Shared::at(5) = 1;
    std::vector<Future<int>> futures =
        list_of(executor.submit(square, 3), executor.submit(wait_at_gate, 0, 5), executor.submit(square, 4));
    co_await futures[2];
    co_await futures[0];
    const WaitResult result = co_await cofork::wait(futures, {.timeout = 5ms});
    CHECK(result.done.size() == (is_concurrent<TestType> ? 2 : 3));
  });
}

TEMPLATE_TEST_CASE("as_completed gives each of an executor's futures once", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    std::vector<Future<int>> futures;
    for (int i = 0; i < 20; ++i) futures.push_back(executor.submit(square_of_odd, i));
    auto completed = cofork::as_completed(std::move(futures));
    int values = 0, errors = 0;
    while (auto future = co_await completed.next()) {
      CHECK(future->done());
      ++(future->exception() ? errors : values);
    }
    CHECK(values == 10);
    CHECK(errors == 10);
  });
}

TEMPLATE_TEST_CASE("as_completed throws when an executor's futures take too long", "[executor][threads]",
                   COFORK_EXECUTORS) {
  if constexpr (is_concurrent<TestType>) {
    Shared shared;
    cofork::run([]() -> Task<> {
      Two<TestType> executor;
      const OpenGates at_end{5};
      std::vector<Future<int>> futures =
          list_of(executor.submit(square, 3), executor.submit(wait_at_gate, 0, 5), executor.submit(square, 4));
      co_await futures[0];
      co_await futures[2];
      auto completed = cofork::as_completed(std::move(futures), {.timeout = 10ms});
      std::string error;
      int given = 0;
      try {
        while (auto future = co_await completed.next()) ++given;
      } catch (const cofork::TimeoutError& timeout) {
        error = timeout.what();
      }
      CHECK(given == 2);
      CHECK(error == "1 (of 3) futures unfinished");
    });
  }
}

TEMPLATE_TEST_CASE("an executor's pending future can be cancelled and its running one cannot", "[executor][threads]",
                   COFORK_EXECUTORS) {
  if constexpr (is_concurrent<TestType>) {
    Shared shared;
    cofork::run([]() -> Task<> {
      Two<TestType> executor;
      const OpenGates at_end{5};
      Future<int> first = executor.submit(wait_at_gate, 0, 5);
      Future<int> second = executor.submit(wait_at_gate, 0, 5);
      const bool begun = co_await until([] { return Shared::at(0) == 2; });
      REQUIRE(begun);
      Future<int> third = executor.submit(wait_at_gate, 0, 5);
      int callbacks = 0;
      third.add_done_callback([&](Future<int>& future) { callbacks += future.cancelled(); });
      CHECK(first.running());
      CHECK_FALSE(first.cancel());
      CHECK_FALSE(third.running());
      CHECK(third.cancel());
      CHECK(third.cancel());
      CHECK(third.cancelled());
      CHECK(callbacks == 1);
      CHECK_THROWS_AS(third.result(), cofork::CancelledError);
      Shared::at(5) = 1;
      const int value = co_await first;
      CHECK(value == 0);
      co_await second;
      CHECK(Shared::at(0) == 2);
    });
  }
}

TEMPLATE_TEST_CASE("an executor's running future is stopped where that is possible", "[executor][threads]",
                   COFORK_EXECUTORS) {
  if constexpr (is_concurrent<TestType>) {
    Shared shared;
    cofork::run([]() -> Task<> {
      Two<TestType> executor;
      const OpenGates at_end{5};
      Future<int> running = executor.submit(wait_at_gate, 0, 5);
      const bool begun = co_await until([] { return Shared::at(0) == 1; });
      REQUIRE(begun);
      CHECK(running.kill() == can_kill<TestType>);
      if (!can_kill<TestType>) Shared::at(5) = 1;
      bool cancelled = false;
      try {
        co_await running;
      } catch (const cofork::CancelledError&) {
        cancelled = true;
      }
      CHECK(cancelled == can_kill<TestType>);
    });
  }
}

TEMPLATE_TEST_CASE("an executor's coroutine ends at its timeout", "[executor][threads]", COFORK_EXECUTORS) {
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const auto forever = []() -> Task<int> {
      co_await cofork::sleep(1h);
      co_return 1;
    };
    Future<int> late = executor.submit({.timeout = 20ms, .name = "the sleeper"}, forever);
    std::string error;
    try {
      co_await late;
    } catch (const cofork::TimeoutError& timeout) {
      error = timeout.what();
    }
    CHECK(error == "the sleeper exceeded its timeout of 0.02 s");
    co_await executor.shutdown();
  });
}

TEMPLATE_TEST_CASE("an executor's coroutine is stopped with its awaiter", "[executor][threads]", COFORK_EXECUTORS) {
  Shared shared;
  cofork::run([]() -> Task<> {
    Two<TestType> executor;
    const auto forever = []() -> Task<int> {
      ++Shared::at(0);
      co_await cofork::sleep(1h);
      co_return 1;
    };
    const auto await_it = [&]() -> Task<int> { co_return co_await executor.submit(forever); };
    Future<int> awaiter = cofork::spawn(await_it());
    const bool begun = co_await until([] { return Shared::at(0) == 1; });
    REQUIRE(begun);
    awaiter.cancel();
    bool cancelled = false;
    try {
      co_await awaiter;
    } catch (const cofork::CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
    co_await executor.shutdown();
  });
}

TEST_CASE("futures of all kinds are gathered in one call", "[executor][threads]") {
  cofork::run([]() -> Task<> {
    cofork::ProcessPoolExecutor processes(1);
    co_await fork_before_threads(processes);
    cofork::ThreadPoolExecutor threads(1);
    cofork::InlineExecutor here;
    int base = 100;
    auto [a, b, c, d, e] =
        co_await cofork::gather(processes.submit(square, 2), threads.submit([&base](int x) { return base + x; }, 3),
                                here.submit(square, 4), cofork::spawn(square_later(5)), cofork::to_thread(square, 6));
    CHECK(a == 4);
    CHECK(b == 103);
    CHECK(c == 16);
    CHECK(d == 25);
    CHECK(e == 36);

    std::vector<Future<int>> futures =
        list_of(processes.submit(square, 7), threads.submit(square, 8), here.submit(square, 9));
    futures.push_back(cofork::spawn(square_later(10)));
    futures.push_back(cofork::to_thread(square, 11));
    const WaitResult waited = co_await cofork::wait(futures);
    CHECK(waited.done == Indices{0, 1, 2, 3, 4});
    auto completed = cofork::as_completed(std::move(futures));
    int sum = 0;
    while (auto future = co_await completed.next()) sum += future->result();
    CHECK(sum == 49 + 64 + 81 + 100 + 121);
  });
}

TEST_CASE("a failure of one kind of future cancels the others of a gather", "[executor][threads]") {
  Shared shared;
  cofork::run([]() -> Task<> {
    cofork::ProcessPoolExecutor processes(1);
    co_await fork_before_threads(processes);
    cofork::ThreadPoolExecutor threads(1);
    cofork::InlineExecutor here;
    const auto forever = []() -> Task<int> {
      co_await cofork::sleep(1h);
      co_return 1;
    };
    std::vector<Future<int>> futures =
        list_of(processes.submit(never_end, 0), threads.submit(forever), here.submit(forever));
    const bool begun = co_await until([] { return Shared::at(0) == 1; });
    REQUIRE(begun);
    futures.push_back(cofork::spawn([]() -> Task<int> {
      co_await cofork::yield_now();
      throw std::domain_error("one failed");
    }()));
    std::string error;
    try {
      co_await cofork::gather(std::move(futures));
    } catch (const std::domain_error& first) {
      error = first.what();
    }
    CHECK(error == "one failed");
    const int after = co_await processes.submit(square, 3);
    CHECK(after == 9);
    CHECK(threads.stats().cancelled == 1);
  });
}

TEST_CASE("select and wait_for take futures of all kinds", "[executor][threads]") {
  Shared shared;
  cofork::run([]() -> Task<> {
    cofork::ProcessPoolExecutor processes(1);
    co_await fork_before_threads(processes);
    cofork::ThreadPoolExecutor threads(1);
    cofork::InlineExecutor here;
    const auto forever = []() -> Task<int> {
      co_await cofork::sleep(1h);
      co_return 1;
    };
    const auto first = co_await cofork::select(processes.submit(never_end, 0), threads.submit(square, 3));
    CHECK(std::get<1>(first) == 9);
    const auto other =
        co_await cofork::select(threads.submit(forever), here.submit(forever), processes.submit(square, 4));
    CHECK(std::get<2>(other) == 16);
    bool late = false;
    try {
      co_await cofork::wait_for(threads.submit(forever), 10ms);
    } catch (const cofork::TimeoutError&) {
      late = true;
    }
    CHECK(late);
    const int in_time = co_await cofork::wait_for(cofork::shield(threads.submit(square, 5)), 30s);
    CHECK(in_time == 25);
  });
}
