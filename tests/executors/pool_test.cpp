// Pool: the scenarios of CPython's _TestPool (_test_multiprocessing.py).
#include <algorithm>
#include <cofork/executors/pool.hpp>
#include <cofork/runtime/shield.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <numeric>
#include <optional>
#include <ranges>
#include <tuple>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::AsyncCallbacks;
using cofork::Future;
using cofork::Pool;
using cofork::Stream;
using cofork::Task;

namespace {

int multiply(int a, int b) { return a * b; }
int count_or_fail(int x) {
  ++Shared::at(0);
  if (x == 0 || x == 2) throw std::domain_error("item " + std::to_string(x));
  return x;
}
int fail(int) { throw std::domain_error("failed"); }
int hang() {
  for (;;) pause_for(1h);
}
std::vector<int> squares_up_to(int end) {
  std::vector<int> squares;
  for (int i = 0; i < end; ++i) squares.push_back(i * i);
  return squares;
}

}  // namespace

TEST_CASE("Pool applies a function") {
  cofork::run([]() -> Task<> {
    Pool pool(2);
    const int applied = co_await pool.apply(multiply, 6, 7);
    CHECK(applied == 42);
    Future<int> future = pool.apply_async(square, 7);
    int& later = co_await future;
    CHECK(later == 49);
    co_await pool.apply([] {});
    Future<void> failed = pool.apply_async([] { throw std::domain_error("wrong"); });
    CHECK_THROWS_AS(co_await failed, std::domain_error);
  });
}

TEST_CASE("Pool maps, whatever the chunks") {
  cofork::run([]() -> Task<> {
    Pool pool(2);
    std::vector<int> input(100);
    std::iota(input.begin(), input.end(), 0);
    const std::vector<int> expected = squares_up_to(100);
    for (const std::size_t chunksize : {0, 1, 20, 1000}) {
      const std::vector<int> mapped = co_await pool.map(square, input, chunksize);
      CHECK(mapped == expected);
    }
    const std::vector<int> none = co_await pool.map(square, std::vector<int>());
    CHECK(none.empty());
    const std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}};
    const std::vector<int> products = co_await pool.starmap(multiply, pairs);
    CHECK(products == std::vector<int>{2, 12});
    co_await pool.map([](int) {}, input);
    const std::vector<bool> odd = co_await pool.map([](int x) { return x % 2 == 1; }, std::views::iota(0, 3));
    CHECK(odd == std::vector<bool>{false, true, false});
  });
}

TEST_CASE("Pool's asynchronous maps own their input") {
  cofork::run([]() -> Task<> {
    Pool pool(2);
    std::optional<Future<std::vector<int>>> mapped, starmapped;
    {
      const std::vector<int> input{1, 2, 3};
      const std::vector<std::pair<int, int>> pairs{{2, 3}, {4, 5}};
      mapped = pool.map_async(square, input);
      starmapped = pool.starmap_async(multiply, pairs, 1);
    }
    std::vector<int>& squares = co_await *mapped;
    CHECK(squares == std::vector<int>{1, 4, 9});
    std::vector<int>& products = co_await *starmapped;
    CHECK(products == std::vector<int>{6, 20});
  });
}

TEST_CASE("Pool's map runs every item and then throws the first error") {
  Shared shared;
  cofork::run([]() -> Task<> {
    Pool pool(2);
    std::string error;
    try {
      co_await pool.map(count_or_fail, std::views::iota(0, 50), 1);
    } catch (const std::domain_error& first) {
      error = first.what();
    }
    CHECK(error == "item 0");
    CHECK(Shared::at(0) == 50);
    Future<std::vector<int>> future = pool.map_async(count_or_fail, std::views::iota(1, 10));
    CHECK_THROWS_AS(co_await future, std::domain_error);
    CHECK(error_of<std::domain_error>(future) == "item 2");
    CHECK(Shared::at(0) == 59);
  });
}

TEST_CASE("Pool passes its input's error on") {
  cofork::run([]() -> Task<> {
    Pool pool(2);
    auto broken = std::views::iota(0, 10) | std::views::transform([](int x) {
                    if (x == 3) throw std::range_error("no item 3");
                    return x;
                  });
    CHECK_THROWS_AS(co_await pool.map(square, broken), std::range_error);
    auto stream = pool.imap(square, broken);
    for (int i = 0; i < 3; ++i) {
      const auto value = co_await stream.next();
      CHECK(*value == i * i);
    }
    CHECK_THROWS_AS(co_await stream.next(), std::range_error);
  });
}

TEST_CASE("Pool's imap gives results one at a time, in order or as they complete") {
  Shared shared;
  cofork::run([]() -> Task<> {
    Pool pool(2);
    auto ordered = pool.imap(square, std::views::iota(0, 10));
    for (int i = 0; i < 10; ++i) {
      const auto value = co_await ordered.next();
      CHECK(*value == i * i);
    }
    const auto end = co_await ordered.next();
    CHECK_FALSE(end.has_value());

    auto failing = pool.imap(count_or_fail, std::views::iota(0, 4));
    int values = 0, errors = 0;
    for (bool more = true; more;) {
      try {
        const auto value = co_await failing.next();
        more = value.has_value();
        values += more;
      } catch (const std::domain_error&) {
        ++errors;
      }
    }
    CHECK(values == 2);
    CHECK(errors == 2);

    std::vector<int> any = co_await pool.imap_unordered(square, std::views::iota(0, 200), 7);
    std::ranges::sort(any);
    CHECK(any == squares_up_to(200));
    const auto first_waits = [](int x) {
      if (x == 0) pass_gate(1);
      return x;
    };
    auto unordered = pool.imap_unordered(first_waits, std::views::iota(0, 3));
    const auto first = co_await unordered.next();
    CHECK(*first != 0);
    Shared::at(1) = 1;
    CHECK_THROWS_AS(pool.imap(square, std::views::iota(0, 3), 0), std::invalid_argument);
    CHECK_THROWS_AS(pool.imap_unordered(square, std::views::iota(0, 3), 0), std::invalid_argument);
  });
}

TEST_CASE("Pool calls back with the result or the error") {
  cofork::run([]() -> Task<> {
    std::vector<std::string> log;
    const auto on_result = [&](int& value) { log.push_back(std::to_string(value)); };
    const auto on_error = [&](const std::exception_ptr& error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& caught) {
        log.emplace_back(caught.what());
      }
    };
    Pool pool(1);
    { auto dropped = pool.apply_async(AsyncCallbacks(on_result, on_error), square, 5); }
    Future<int> failed = pool.apply_async(AsyncCallbacks(on_result, on_error), fail, 2);
    bool thrown = false;
    try {
      co_await failed;
    } catch (const std::domain_error&) {
      thrown = true;
    }
    CHECK(thrown);
    Future<int> without = pool.apply_async(AsyncCallbacks(on_result), square, 6);
    co_await without;
    const auto on_list = [&](std::vector<int>& values) { log.push_back(std::to_string(values.size()) + " values"); };
    auto mapped = pool.map_async(AsyncCallbacks(on_list, on_error), square, std::views::iota(0, 3));
    co_await mapped;
    const std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}};
    auto starmapped = pool.starmap_async(AsyncCallbacks(on_list), multiply, pairs);
    co_await starmapped;
    auto nothing = pool.apply_async(AsyncCallbacks([&] { log.emplace_back("void"); }), [] {});
    co_await nothing;
    Future<int> cancelled = pool.apply_async(AsyncCallbacks(on_result, on_error), hang);
    pool.terminate();
    co_await pool.join();
    CHECK(log == std::vector<std::string>{"25", "failed", "36", "3 values", "2 values", "void", "cancelled"});
  });
}

TEST_CASE("Pool is joined after it was closed or terminated, and takes nothing then") {
  Shared shared;
  cofork::run([]() -> Task<> {
    Pool closed(2);
    CHECK_THROWS_AS(closed.join(), std::logic_error);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 20; ++i) futures.push_back(closed.apply_async(square, i));
    Future<std::vector<int>> mapped = closed.map_async(square, std::views::iota(0, 1000));
    Stream<int> taken_later = closed.imap(square, std::views::iota(0, 500));
    closed.close();
    CHECK_THROWS_AS(closed.apply(square, 1), cofork::InvalidStateError);
    CHECK_THROWS_AS(closed.apply_async(square, 1), cofork::InvalidStateError);
    CHECK_THROWS_AS(closed.map(square, std::vector<int>(1)), cofork::InvalidStateError);
    CHECK_THROWS_AS(closed.map_async(square, std::vector<int>(1)), cofork::InvalidStateError);
    CHECK_THROWS_AS(closed.imap(square, std::vector<int>(1)), cofork::InvalidStateError);
    co_await closed.join();
    CHECK(futures[19].result() == 361);
    std::vector<int>& squares = co_await mapped;
    CHECK(squares.size() == 1000);
    const std::vector<int> rest = co_await std::move(taken_later);
    CHECK(rest.size() == 500);

    Pool terminated(2);
    Future<int> running = terminated.apply_async(never_end, 0);
    const bool begun = co_await until([] { return Shared::at(0) == 1; });
    CHECK(begun);
    Future<int> pending = terminated.apply_async(square, 2);
    Future<int> behind = terminated.apply_async(never_end, 0);
    terminated.terminate();
    co_await terminated.join();
    CHECK(running.cancelled());
    CHECK(behind.cancelled());
    CHECK(pending.done());
    CHECK_THROWS_AS(terminated.apply_async(square, 1), cofork::InvalidStateError);
  });
}

TEST_CASE("Pool ends with CancelledError what has not ended with it") {
  Shared shared;
  cofork::run([]() -> Task<> {
    std::optional<Pool> pool(std::in_place, 1u);
    Future<int> running = pool->apply_async(never_end, 0);
    Future<int> pending = pool->apply_async(square, 2);
    Future<std::vector<int>> mapped = pool->map_async(square, std::views::iota(0, 10));
    const bool begun = co_await until([] { return Shared::at(0) == 1; });
    CHECK(begun);
    pool.reset();
    CHECK(running.cancelled());
    CHECK(pending.cancelled());
    CHECK_THROWS_AS(co_await mapped, cofork::CancelledError);
  });
}

TEST_CASE("Pool's workers begin with the initializer") {
  Shared shared;
  cofork::run([]() -> Task<> {
    CHECK_THROWS_AS(Pool(0u), std::invalid_argument);
    Pool pool(
        {.max_workers = 1}, [](int value) { Shared::at(3) = value; }, 17);
    const int seen = co_await pool.apply([] { return Shared::at(3).load(); });
    CHECK(seen == 17);
    Pool each({.max_workers = 1, .max_tasks_per_child = 1});
    const pid_t first = co_await each.apply(own_pid);
    const pid_t second = co_await each.apply(own_pid);
    CHECK(first != second);
  });
}

TEST_CASE("Pool's asynchronous results can be waited for with a limit") {
  Shared shared;
  cofork::run([]() -> Task<> {
    Pool pool(1);
    Future<int> slow = pool.apply_async(wait_at_gate, 0, 1);
    bool late = false;
    try {
      co_await cofork::wait_for(cofork::shield(slow), 10ms);
    } catch (const cofork::TimeoutError&) {
      late = true;
    }
    CHECK(late);
    CHECK_FALSE(slow.done());
    Shared::at(1) = 1;
    const int value = co_await slow;
    CHECK(value == 0);
  });
}
