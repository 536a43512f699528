#include <cofork/runtime/future.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using support::Counted;
using support::turns;

namespace {

std::exception_ptr error(const char* what) { return std::make_exception_ptr(std::runtime_error(what)); }

}  // namespace

TEST_CASE("a promise gives its future a result") {
  Promise<int> promise;
  Future<int> future = promise.future();
  CHECK_FALSE(future.done());
  promise.set_result(5);
  CHECK(future.done());
  CHECK(future.result() == 5);
  CHECK(future.exception() == nullptr);
}

TEST_CASE("a promise gives its future an exception") {
  Promise<int> promise;
  Future<int> future = promise.future();
  promise.set_exception(error("test"));
  CHECK(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK_THROWS_WITH(future.result(), "test");
  CHECK(future.exception() != nullptr);
}

TEST_CASE("a promise can be of nothing, of a reference, and of what only moves") {
  Promise<void> nothing;
  Future<void> nothing_future = nothing.future();
  nothing.set_result();
  CHECK_NOTHROW(nothing_future.result());

  int object = 1;
  Promise<int&> reference;
  Future<int&> reference_future = reference.future();
  reference.set_result(object);
  CHECK(&reference_future.result() == &object);

  Promise<std::unique_ptr<int>> moved;
  Future<std::unique_ptr<int>> moved_future = moved.future();
  moved.set_result(std::make_unique<int>(7));
  CHECK(*moved_future.result() == 7);
}

TEST_CASE("a result is set once") {
  Promise<int> promise;
  Future<int> future = promise.future();
  promise.set_result(1);
  CHECK_THROWS_AS(promise.set_result(2), InvalidStateError);
  CHECK_THROWS_AS(promise.set_exception(error("late")), InvalidStateError);
  CHECK(future.result() == 1);
}

TEST_CASE("an exception is set once") {
  Promise<int> promise;
  Future<int> future = promise.future();
  const std::exception_ptr first = error("first");
  promise.set_exception(first);
  CHECK_THROWS_AS(promise.set_exception(error("second")), InvalidStateError);
  CHECK_THROWS_AS(promise.set_result(2), InvalidStateError);
  CHECK(future.exception() == first);
}

TEST_CASE("an exception must be one") {
  Promise<int> promise;
  CHECK_THROWS_AS(promise.set_exception(nullptr), std::invalid_argument);
  CHECK_FALSE(promise.future().done());
}

TEST_CASE("a cancelled promise takes no result") {
  Promise<int> promise;
  Future<int> future = promise.future();
  CHECK(future.cancel());
  CHECK_THROWS_AS(promise.set_result(1), InvalidStateError);
  CHECK_THROWS_AS(promise.set_exception(error("late")), InvalidStateError);
  CHECK_FALSE(promise.set_running_or_notify_cancel());
}

TEST_CASE("a promise that is running cannot be cancelled") {
  Promise<int> promise;
  Future<int> future = promise.future();
  CHECK_FALSE(future.running());
  CHECK(promise.set_running_or_notify_cancel());
  CHECK(future.running());
  CHECK_FALSE(future.cancel());
  CHECK_FALSE(future.kill());
  CHECK(future.running());
  CHECK_THROWS_AS(promise.set_running_or_notify_cancel(), InvalidStateError);
  promise.set_result(3);
  CHECK_FALSE(future.running());
  CHECK(future.result() == 3);
  CHECK_THROWS_AS(promise.set_running_or_notify_cancel(), InvalidStateError);
}

TEST_CASE("a promise that is destroyed without a result ends its future with an error") {
  std::optional<Promise<int>> promise(std::in_place);
  Future<int> future = promise->future();
  int called = 0;
  future.add_done_callback([&](Future<int>&) { ++called; });
  promise.reset();
  CHECK(future.done());
  CHECK_THROWS_AS(future.result(), InvalidStateError);
  CHECK(called == 1);
}

TEST_CASE("a promise moves with its duty") {
  Promise<int> first;
  Future<int> future = first.future();
  Promise<int> second(std::move(first));
  Promise<int> third;
  Future<int> abandoned = third.future();
  third = std::move(second);
  CHECK(abandoned.done());
  CHECK_FALSE(future.done());
  third.set_result(1);
  CHECK(future.result() == 1);
}

TEST_CASE("a promise that was moved from says so") {
  Promise<int> first;
  const Promise<int> second(std::move(first));
  CHECK_THROWS_AS(first.set_result(1), InvalidStateError);
  CHECK_THROWS_AS(first.set_exception(error("error")), InvalidStateError);
  CHECK_THROWS_AS(first.future(), InvalidStateError);
  CHECK_THROWS_AS(first.set_running_or_notify_cancel(), InvalidStateError);
}

TEST_CASE("a promise gives any number of handles on its future") {
  Promise<int> promise;
  Future<int> first = promise.future();
  { const Future<int> dropped = promise.future(); }
  Future<int> second = promise.future();
  promise.set_result(4);
  CHECK(first.result() == 4);
  CHECK(&first.result() == &second.result());
}

TEST_CASE("a promise resumes those who await its future in the next turn") {
  run([]() -> Task<> {
    Promise<int> promise;
    std::vector<int> received;
    const auto receive = [&](int plus) -> Task<> {
      Future<int> future = promise.future();
      received.push_back(co_await future + plus);
    };
    Future<void> first = spawn(receive(1));
    Future<void> second = spawn(receive(2));
    co_await turns(1);
    promise.set_result(10);
    CHECK(received.empty());
    co_await first;
    co_await second;
    CHECK(received == std::vector{11, 12});
  });
}

TEST_CASE("cancelling a coroutine that awaits a promise cancels the promise unless it runs") {
  const bool running = GENERATE(false, true);
  Promise<int> promise;
  run([&]() -> Task<> {
    const auto receive = [&]() -> Task<> {
      Future<int> future = promise.future();
      co_await future;
    };
    Future<void> receiver = spawn(receive());
    co_await turns(1);
    if (running) promise.set_running_or_notify_cancel();
    receiver.cancel();
    co_await turns(2);
    CHECK(receiver.cancelled());
    CHECK(promise.future().cancelled() == !running);
  });
}

TEST_CASE("a promise's result is destroyed with the last handle") {
  Counted::reset();
  {
    std::optional<Future<Counted>> future;
    {
      Promise<Counted> promise;
      future.emplace(promise.future());
      promise.set_result(Counted(1));
    }
    CHECK(Counted::alive() == 1);
    CHECK(future->result().value == 1);
  }
  CHECK(Counted::alive() == 0);
}

TEST_CASE("a promise has no usage") {
  Promise<int> promise;
  CHECK_FALSE(promise.future().usage().has_value());
}
