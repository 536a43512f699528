#include <cofork/runtime/as_completed.hpp>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/combinators.hpp"
#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::error_of;
using support::Life;
using support::throws;
using support::value_after;

namespace {

std::vector<Future<int>> futures_of(std::vector<Promise<int>>& promises) {
  std::vector<Future<int>> futures;
  for (Promise<int>& promise : promises) futures.push_back(promise.future());
  return futures;
}

/// The values of the futures that come, in their order; -1 for one that was cancelled, -2 for one that failed.
Task<std::vector<int>> values_of(Stream<Future<int>>& stream) {
  std::vector<int> values;
  while (std::optional<Future<int>> future = co_await stream.next()) {
    CHECK(future->done());
    if (future->cancelled())
      values.push_back(-1);
    else
      values.push_back(future->exception() ? -2 : future->result());
  }
  co_return values;
}

}  // namespace

TEST_CASE("as_completed gives futures in the order in which they end") {
  run([]() -> Task<> {
    std::vector<Future<int>> futures;
    futures.push_back(spawn(value_after(1, 6)));
    futures.push_back(spawn(value_after(2, 2)));
    futures.push_back(spawn(value_after(3, 4)));
    Stream<Future<int>> stream = as_completed(std::move(futures));
    const std::vector<int> values = co_await values_of(stream);
    CHECK(values == std::vector<int>{2, 3, 1});
  });
}

TEST_CASE("as_completed gives those first that were done, in their order, each once, however they ended") {
  run([]() -> Task<> {
    std::vector<Promise<int>> promises(5);
    Stream<Future<int>> stream = [&] {
      promises[3].set_result(3);
      promises[2].set_exception(std::make_exception_ptr(support::Failure("no")));
      promises[1].future().cancel();
      return as_completed(futures_of(promises));
    }();
    promises[4].set_result(4);
    promises[0].set_result(0);
    const std::vector<int> values = co_await values_of(stream);
    CHECK(values == std::vector<int>{-1, -2, 3, 4, 0});
    const std::optional<Future<int>> end = co_await stream.next();
    CHECK_FALSE(end.has_value());
  });
}

TEST_CASE("as_completed of no futures is at its end") {
  run([]() -> Task<> {
    Stream<Future<int>> stream = as_completed(std::vector<Future<int>>(), {.timeout = 0s});
    const std::vector<int> values = co_await values_of(stream);
    CHECK(values.empty());
  });
}

TEST_CASE("collecting as_completed gives all the futures") {
  run([]() -> Task<> {
    std::vector<Future<int>> futures;
    for (int i = 0; i < 3; ++i) futures.push_back(spawn(value_after(i, 3 - i)));
    const std::vector<Future<int>> all = co_await as_completed(std::move(futures));
    CHECK(all.size() == 3);
  });
}

TEST_CASE("the TimeoutError of as_completed counts what is unfinished") {
  run([]() -> Task<> {
    std::vector<Promise<int>> promises(4);
    promises[0].set_result(0);
    promises[2].future().cancel();
    Stream<Future<int>> stream = as_completed(futures_of(promises), {.timeout = 0s});
    const std::optional<Future<int>> first = co_await stream.next();
    CHECK(first.has_value());
    const std::optional<Future<int>> second = co_await stream.next();
    CHECK(second.has_value());
    const std::string error = co_await error_of(stream.next());
    CHECK(error == "2 (of 4) futures unfinished");
  });
}

TEST_CASE("after its TimeoutError as_completed is at its end, and the outstanding work has been stopped") {
  run([]() -> Task<> {
    Life life;
    std::vector<Future<int>> futures;
    futures.push_back(spawn(support::sleeper(life)));
    co_await support::turns(1);
    Stream<Future<int>> stream = as_completed(std::move(futures), {.timeout = 2ms});
    const bool timed_out = co_await throws<TimeoutError>(stream.next());
    CHECK(timed_out);
    const std::optional<Future<int>> end = co_await stream.next();
    CHECK_FALSE(end.has_value());
    co_await support::turns(2);
    CHECK(life.ended);
  });
}

TEST_CASE("the time of as_completed counts from the call, and what is done comes before the error") {
  run([]() -> Task<> {
    std::vector<Promise<int>> promises(3);
    Stream<Future<int>> stream = as_completed(futures_of(promises), {.timeout = 2ms});
    promises[1].set_result(1);
    co_await sleep(3ms);
    const std::optional<Future<int>> late = co_await stream.next();
    CHECK(late.has_value());
    // This one ends in the turn of the call.
    promises[0].set_result(0);
    const std::optional<Future<int>> later = co_await stream.next();
    CHECK(later.has_value());
    const std::string error = co_await error_of(stream.next());
    CHECK(error == "1 (of 3) futures unfinished");
  });
}

TEST_CASE("closing or dropping as_completed stops the work of the futures that it still has") {
  run([]() -> Task<> {
    for (const bool close : {true, false}) {
      std::vector<Promise<int>> promises(3);
      promises[0].set_result(0);
      Stream<Future<int>> stream = as_completed(futures_of(promises));
      const std::optional<Future<int>> first = co_await stream.next();
      CHECK(first.has_value());
      if (close) {
        stream.close();
        const std::optional<Future<int>> end = co_await stream.next();
        CHECK_FALSE(end.has_value());
      } else {
        const Stream<Future<int>> dropped = std::move(stream);
      }
      CHECK(promises[1].future().cancelled());
      CHECK(promises[2].future().cancelled());
    }
  });
}

TEST_CASE("cancelling who waits for as_completed stops nothing and loses nothing") {
  run([]() -> Task<> {
    std::vector<Promise<int>> promises(2);
    Stream<Future<int>> stream = as_completed(futures_of(promises), {.timeout = 1h});
    const auto next = [&]() -> Task<> { (void)co_await stream.next(); };
    Future<void> waiter = spawn(next());
    co_await support::turns(2);
    waiter.cancel();
    const bool cancelled = co_await throws<CancelledError>(std::move(waiter));
    CHECK(cancelled);
    CHECK_FALSE(promises[0].future().done());
    promises[1].set_result(1);
    promises[0].set_result(0);
    const std::vector<int> values = co_await values_of(stream);
    CHECK(values == std::vector<int>{1, 0});
  });
}

TEST_CASE("two may not wait for as_completed at once") {
  run([]() -> Task<> {
    std::vector<Promise<int>> promises(1);
    Stream<Future<int>> stream = as_completed(futures_of(promises));
    const auto next = [&]() -> Task<> { (void)co_await stream.next(); };
    const Future<void> waiter = spawn(next());
    co_await support::turns(2);
    const bool refused = co_await throws<std::logic_error>(stream.next());
    CHECK(refused);
    promises[0].set_result(1);
    while (!waiter.done()) co_await support::turns(1);
  });
}

TEST_CASE("as_completed keeps no result of a future that it has given out") {
  run([]() -> Task<> {
    std::vector<Future<std::shared_ptr<int>>> futures;
    auto value = std::make_shared<int>(1);
    futures.push_back(spawn(support::value(value)));
    Promise<std::shared_ptr<int>> other;
    futures.push_back(other.future());
    Stream<Future<std::shared_ptr<int>>> stream = as_completed(std::move(futures));
    {
      const std::optional<Future<std::shared_ptr<int>>> given = co_await stream.next();
      CHECK(value.use_count() == 2);
    }
    CHECK(value.use_count() == 1);
  });
}

TEST_CASE("as_completed of a hundred thousand futures") {
  run([]() -> Task<> {
    std::vector<Promise<int>> promises(100'000);
    Stream<Future<int>> stream = as_completed(futures_of(promises));
    for (std::size_t i = promises.size(); i-- > 0;) promises[i].set_result(static_cast<int>(i));
    int expected = static_cast<int>(promises.size());
    while (std::optional<Future<int>> future = co_await stream.next())
      if (future->result() != --expected) break;
    CHECK(expected == 0);
  });
}
