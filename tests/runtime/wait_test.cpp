#include <cofork/runtime/wait.hpp>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <type_traits>
#include <vector>

#include "runtime/combinators.hpp"
#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::failure_after;
using support::throws;
using support::value_after;

namespace {

using Indices = std::vector<std::size_t>;

/// Futures of promises that the test keeps.
struct Promised {
  explicit Promised(std::size_t count) : promises(count) {
    for (Promise<int>& promise : promises) futures.push_back(promise.future());
  }
  void fail(std::size_t index) { promises[index].set_exception(std::make_exception_ptr(support::Failure("no"))); }

  std::vector<Promise<int>> promises;
  std::vector<Future<int>> futures;
};

constexpr WaitOptions first_completed{.return_when = ReturnWhen::first_completed};
constexpr WaitOptions first_exception{.return_when = ReturnWhen::first_exception};
constexpr WaitOptions look{.timeout = std::chrono::nanoseconds(0)};

static_assert(std::is_trivially_destructible_v<WaitOptions>);

}  // namespace

TEST_CASE("wait waits until all are done, however they end") {
  run([]() -> Task<> {
    std::vector<Future<int>> futures;
    futures.push_back(spawn(value_after(1, 4)));
    futures.push_back(spawn(failure_after("no", 2)));
    futures.push_back(spawn(value_after(3, 1)));
    futures[2].cancel();
    const WaitResult result = co_await wait(futures);
    CHECK(result.done == Indices{0, 1, 2});
    CHECK(result.not_done.empty());
    CHECK(futures[0].result() == 1);
    CHECK(futures[1].exception() != nullptr);
    CHECK(futures[2].cancelled());
  });
}

TEST_CASE("wait of no futures has its result at once") {
  run([]() -> Task<> {
    std::vector<Future<int>> none;
    for (const WaitOptions& options : {WaitOptions(), first_completed, first_exception}) {
      const WaitResult result = co_await wait(none, options);
      CHECK(result.done.empty());
      CHECK(result.not_done.empty());
    }
  });
}

TEST_CASE("wait of futures of void") {
  run([]() -> Task<> {
    std::vector<Future<void>> futures;
    futures.push_back(spawn<void>(sleep(1ms)));
    const WaitResult result = co_await wait(futures);
    CHECK(result.done == Indices{0});
  });
}

TEST_CASE("wait for the first completed") {
  run([]() -> Task<> {
    Promised some(3);
    Future<WaitResult> waiter = spawn(wait(some.futures, first_completed));
    co_await support::turns(3);
    CHECK_FALSE(waiter.done());
    some.fail(1);
    WaitResult result = co_await std::move(waiter);
    CHECK(result.done == Indices{1});
    CHECK(result.not_done == Indices{0, 2});

    // Those that are done already count.
    some.promises[2].set_result(1);
    result = co_await wait(some.futures, first_completed);
    CHECK(result.done == Indices{1, 2});
    CHECK(result.not_done == Indices{0});
  });
}

TEST_CASE("a cancelled future counts as completed") {
  run([]() -> Task<> {
    Promised some(2);
    some.futures[1].cancel();
    const WaitResult result = co_await wait(some.futures, first_completed);
    CHECK(result.done == Indices{1});
  });
}

TEST_CASE("wait for the first exception returns when one has failed") {
  run([]() -> Task<> {
    Promised some(3);
    Future<WaitResult> waiter = spawn(wait(some.futures, first_exception));
    co_await support::turns(2);
    some.promises[0].set_result(1);
    co_await support::turns(3);
    CHECK_FALSE(waiter.done());
    some.fail(1);
    const WaitResult result = co_await std::move(waiter);
    CHECK(result.done == Indices{0, 1});
    CHECK(result.not_done == Indices{2});
  });
}

TEST_CASE("wait for the first exception returns at once when one had failed") {
  run([]() -> Task<> {
    Promised some(2);
    some.fail(0);
    const WaitResult result = co_await wait(some.futures, first_exception);
    CHECK(result.done == Indices{0});
    CHECK(result.not_done == Indices{1});
  });
}

TEST_CASE("wait for the first exception takes no cancelled future for a failed one, and ends when all are done") {
  run([]() -> Task<> {
    Promised some(3);
    some.futures[0].cancel();
    Future<WaitResult> waiter = spawn(wait(some.futures, first_exception));
    co_await support::turns(2);
    some.futures[1].cancel();
    co_await support::turns(3);
    CHECK_FALSE(waiter.done());
    some.promises[2].set_result(1);
    const WaitResult result = co_await std::move(waiter);
    CHECK(result.done == Indices{0, 1, 2});
  });
}

TEST_CASE("wait does not throw when its time is over, and stops nothing") {
  run([]() -> Task<> {
    Promised some(3);
    some.promises[0].set_result(1);
    some.fail(1);
    const WaitResult result = co_await wait(some.futures, {.timeout = 2ms});
    CHECK(result.done == Indices{0, 1});
    CHECK(result.not_done == Indices{2});
    CHECK_FALSE(some.futures[2].done());
  });
}

TEST_CASE("wait without time looks, also in a cancelled coroutine") {
  run([]() -> Task<> {
    Promised some(2);
    some.promises[1].set_result(1);
    bool looked = false;
    const auto body = [&]() -> Task<> {
      try {
        co_await sleep(1h);
      } catch (const CancelledError&) {
      }
      for (const auto timeout : {0ns, -1ns}) {
        const WaitResult result = co_await wait(some.futures, {.timeout = timeout});
        CHECK(result.done == Indices{1});
        CHECK(result.not_done == Indices{0});
      }
      looked = true;
      co_await wait(some.futures);
    };
    Future<void> task = spawn(body());
    co_await support::turns(2);
    task.cancel();
    const bool cancelled = co_await throws<CancelledError>(std::move(task));
    CHECK(cancelled);
    CHECK(looked);
  });
}

TEST_CASE("a wait that is cancelled ends at once and stops nothing") {
  run([]() -> Task<> {
    Promised some(2);
    for (const WaitOptions& options : {WaitOptions(), first_completed, WaitOptions{.timeout = 1h}}) {
      Future<WaitResult> waiter = spawn(wait(some.futures, options));
      co_await support::turns(2);
      waiter.cancel();
      co_await support::turns(2);
      CHECK(waiter.cancelled());
      CHECK_FALSE(some.futures[0].done());
      CHECK_FALSE(some.futures[1].done());
    }
  });
}

TEST_CASE("a wait that is cancelled when its result is there delivers it") {
  run([]() -> Task<> {
    Promised some(1);
    // The future's end reaches the wait in one turn, the wait's end its awaiter in the next.
    Future<WaitResult> waiter = spawn(wait(some.futures));
    co_await support::turns(2);
    some.promises[0].set_result(1);
    co_await yield_now();
    waiter.cancel();
    const WaitResult result = co_await waiter;
    CHECK(result.done == Indices{0});
  });
}

TEST_CASE("the futures may be moved while they are waited for") {
  run([]() -> Task<> {
    Promised some(2);
    Future<WaitResult> waiter = spawn(wait(some.futures));
    const std::vector<Future<int>> elsewhere = std::move(some.futures);
    co_await support::turns(2);
    for (Promise<int>& promise : some.promises) promise.set_result(1);
    const WaitResult result = co_await waiter;
    CHECK(result.done == Indices{0, 1});
  });
}

TEST_CASE("several may wait for the same futures") {
  run([]() -> Task<> {
    Promised some(2);
    Future<WaitResult> all = spawn(wait(some.futures));
    Future<WaitResult> first = spawn(wait(some.futures, first_completed));
    co_await support::turns(2);
    some.promises[1].set_result(1);
    const WaitResult one = co_await first;
    CHECK(one.done == Indices{1});
    CHECK_FALSE(all.done());
    some.promises[0].set_result(1);
    const WaitResult both = co_await all;
    CHECK(both.done == Indices{0, 1});
  });
}

TEST_CASE("wait refuses a moved-from future") {
  run([]() -> Task<> {
    Promised some(2);
    const Future<int> elsewhere = std::move(some.futures[1]);
    CHECK_THROWS_AS(wait(some.futures), InvalidStateError);
    co_return;
  });
}

TEST_CASE("wait for a hundred thousand futures") {
  run([]() -> Task<> {
    Promised many(100'000);
    WaitResult result = co_await wait(many.futures, look);
    CHECK(result.not_done.size() == many.futures.size());
    Future<WaitResult> waiter = spawn(wait(many.futures));
    co_await support::turns(2);
    for (std::size_t i = many.promises.size(); i-- > 0;) many.promises[i].set_result(1);
    result = co_await waiter;
    CHECK(result.done.size() == many.futures.size());
  });
}

TEST_CASE("a wait that is destroyed where it waits leaves the futures alone") {
  run([]() -> Task<> {
    Promised some(2);
    const auto body = [&]() -> Task<> { co_await wait(some.futures, {.timeout = 1h}); };
    support::Started started(body());
    started.destroy();
    some.promises[0].set_result(1);
    co_await support::turns(2);
    CHECK_FALSE(some.futures[1].done());
  });
}
