#include <cofork/runtime/future.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::Counted;
using support::turns;

namespace {

// A future in each of the states that one can be in, with the promise that keeps it there.
struct States {
  States() {
    running.set_running_or_notify_cancel();
    cancelled_future.cancel();
    failed.set_exception(std::make_exception_ptr(std::system_error(ENOENT, std::generic_category())));
    succeeded.set_result(42);
  }
  Promise<int> pending, running, cancelled, failed, succeeded;
  Future<int> pending_future = pending.future();
  Future<int> running_future = running.future();
  Future<int> cancelled_future = cancelled.future();
  Future<int> failed_future = failed.future();
  Future<int> succeeded_future = succeeded.future();
};

Task<> await_into(Future<int>& future, std::vector<int>& values) {
  const int value = co_await future;
  values.push_back(value);
}

}  // namespace

TEST_CASE("a future can be cancelled while it is pending, and then again") {
  States states;
  CHECK(states.pending_future.cancel());
  CHECK(states.pending_future.cancelled());
  CHECK_FALSE(states.running_future.cancel());
  CHECK(states.running_future.running());
  CHECK(states.cancelled_future.cancel());
  CHECK(states.cancelled_future.cancelled());
  CHECK_FALSE(states.failed_future.cancel());
  CHECK_FALSE(states.failed_future.cancelled());
  CHECK_FALSE(states.succeeded_future.cancel());
  CHECK(states.succeeded_future.result() == 42);
}

TEST_CASE("kill is true unless a future is done") {
  States states;
  CHECK(states.pending_future.kill());
  CHECK(states.pending_future.cancelled());
  CHECK_FALSE(states.failed_future.kill());
  CHECK_FALSE(states.succeeded_future.kill());
}

TEST_CASE("a future knows whether it is cancelled, running or done") {
  const States states;
  CHECK_FALSE(states.pending_future.cancelled());
  CHECK_FALSE(states.running_future.cancelled());
  CHECK(states.cancelled_future.cancelled());
  CHECK_FALSE(states.failed_future.cancelled());
  CHECK_FALSE(states.succeeded_future.cancelled());

  CHECK_FALSE(states.pending_future.done());
  CHECK_FALSE(states.running_future.done());
  CHECK(states.cancelled_future.done());
  CHECK(states.failed_future.done());
  CHECK(states.succeeded_future.done());

  CHECK_FALSE(states.pending_future.running());
  CHECK(states.running_future.running());
  CHECK_FALSE(states.cancelled_future.running());
  CHECK_FALSE(states.failed_future.running());
  CHECK_FALSE(states.succeeded_future.running());
}

TEST_CASE("a future's result is there when it is done") {
  States states;
  CHECK_THROWS_AS(states.pending_future.result(), InvalidStateError);
  CHECK_THROWS_AS(states.running_future.result(), InvalidStateError);
  CHECK_THROWS_AS(states.cancelled_future.result(), CancelledError);
  CHECK_THROWS_AS(states.failed_future.result(), std::system_error);
  CHECK_THROWS_AS(states.failed_future.result(), std::system_error);
  CHECK(states.succeeded_future.result() == 42);
  states.succeeded_future.result() = 43;
  CHECK(states.succeeded_future.result() == 43);
}

TEST_CASE("a future's exception is there when it is done") {
  const States states;
  CHECK_THROWS_AS(states.pending_future.exception(), InvalidStateError);
  CHECK_THROWS_AS(states.running_future.exception(), InvalidStateError);
  CHECK_THROWS_AS(states.cancelled_future.exception(), CancelledError);
  CHECK_THROWS_AS(std::rethrow_exception(states.failed_future.exception()), std::system_error);
  CHECK(states.succeeded_future.exception() == nullptr);
}

TEST_CASE("a done callback sees the result, the exception or the cancellation") {
  States states;
  int result = 0;
  bool failed = false;
  bool was_cancelled = false;
  const auto see = [&](Future<int>& future) {
    was_cancelled = future.cancelled();
    if (was_cancelled) return;
    failed = future.exception() != nullptr;
    if (!failed) result = future.result();
  };
  states.pending_future.add_done_callback(see);
  states.pending.set_result(5);
  CHECK(result == 5);
  states.running_future.add_done_callback(see);
  states.running.set_exception(std::make_exception_ptr(std::runtime_error("test")));
  CHECK(failed);
  Promise<int> another;
  Future<int> future = another.future();
  future.add_done_callback(see);
  CHECK(future.cancel());
  CHECK(was_cancelled);
}

TEST_CASE("a done callback of a future that is done is called at once") {
  States states;
  int called = 0;
  const auto count = [&](Future<int>& future) {
    CHECK(future.done());
    ++called;
  };
  states.cancelled_future.add_done_callback(count);
  CHECK(called == 1);
  states.failed_future.add_done_callback(count);
  CHECK(called == 2);
  states.succeeded_future.add_done_callback(count);
  CHECK(called == 3);
}

TEST_CASE("done callbacks are called once, in order, when the future is done") {
  States states;
  std::vector<int> order;
  for (int name = 0; name < 10; ++name)
    states.pending_future.add_done_callback([&order, name](Future<int>&) { order.push_back(name); });
  CHECK(order.empty());
  states.pending.set_result(1);
  CHECK(order == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK_THROWS_AS(states.pending.set_result(2), InvalidStateError);
  CHECK(order.size() == 10);
}

TEST_CASE("a done callback that throws is reported, and the next still runs") {
  const auto child = support::in_child([] {
    Promise<int> promise;
    Future<int> future = promise.future();
    bool next_ran = false;
    future.add_done_callback([](Future<int>&) { throw std::runtime_error("doh!"); });
    future.add_done_callback([](Future<int>&) { throw 1; });
    future.add_done_callback([&](Future<int>&) { next_ran = true; });
    promise.set_result(5);
    support::require(next_ran, "the next callback ran");
    support::require(future.result() == 5, "the result is there");
    future.add_done_callback([](Future<int>&) { throw std::runtime_error("late doh!"); });
  });
  INFO(child.output);
  CHECK(child.succeeded());
  CHECK(child.output.find("callback threw: doh!") != std::string::npos);
  CHECK(child.output.find("not a std::exception") != std::string::npos);
  CHECK(child.output.find("callback threw: late doh!") != std::string::npos);
}

TEST_CASE("a done callback can add another, drop the future and keep a handle on it") {
  Promise<int> promise;
  std::optional<Future<int>> future(promise.future());
  std::optional<Future<int>> kept;
  std::vector<int> order;
  future->add_done_callback([&](Future<int>& done) {
    order.push_back(1);
    done.add_done_callback([&](Future<int>&) { order.push_back(2); });
    future.reset();
    kept.emplace(std::move(done));
  });
  promise.set_result(9);
  CHECK(order == std::vector{1, 2});
  CHECK(kept->result() == 9);
}

TEST_CASE("done callbacks are destroyed after they were called, and with a future that never was") {
  const auto token = std::make_shared<int>(0);
  Promise<int> promise;
  promise.future().add_done_callback([token](Future<int>&) {});
  CHECK(token.use_count() == 2);
  promise.set_result(1);
  CHECK(token.use_count() == 1);
  promise.future().add_done_callback([token](Future<int>&) {});
  CHECK(token.use_count() == 1);
}

TEST_CASE("an awaited lvalue future gives a reference, again and again") {
  run([]() -> Task<> {
    Promise<std::string> promise;
    Future<std::string> future = promise.future();
    promise.set_result("text");
    std::string& first = co_await future;
    first += " and more";
    std::string& second = co_await future;
    CHECK(&first == &second);
    CHECK(future.result() == "text and more");
  });
}

TEST_CASE("an awaited rvalue future gives the value away") {
  run([]() -> Task<> {
    Promise<std::unique_ptr<int>> promise;
    Future<std::unique_ptr<int>> future = promise.future();
    promise.set_result(std::make_unique<int>(1));
    const std::unique_ptr<int> value = co_await std::move(future);
    CHECK(*value == 1);
  });
}

TEST_CASE("several coroutines can await one future, and go on in order") {
  Promise<int> promise;
  Future<int> future = promise.future();
  std::vector<int> order;
  const auto receive = [&](int name) -> Task<> {
    const int value = co_await future;
    order.push_back(value + name);
  };
  run([&]() -> Task<> {
    std::vector<Future<void>> receivers;
    for (int name = 1; name <= 3; ++name) receivers.push_back(spawn(receive(name)));
    co_await turns(1);
    promise.set_result(10);
    for (Future<void>& receiver : receivers) co_await receiver;
    CHECK(order == std::vector{11, 12, 13});
  });
}

TEST_CASE("awaiting a future that failed or was cancelled throws, every time") {
  run([]() -> Task<> {
    States states;
    const auto await = [](Future<int>& future) -> Task<> { co_await future; };
    for (int round = 0; round < 3; ++round) {
      const bool failed = co_await support::throws<std::system_error>(await(states.failed_future));
      const bool was_cancelled = co_await support::throws<CancelledError>(await(states.cancelled_future));
      CHECK(failed);
      CHECK(was_cancelled);
    }
  });
}

TEST_CASE("who awaits a future that somebody else cancels gets the cancellation, and is not cancelled itself") {
  run([]() -> Task<> {
    Promise<int> promise;
    Future<int> future = promise.future();
    bool thrown = false;
    bool went_on = false;
    const auto receive = [&]() -> Task<> {
      try {
        co_await future;
      } catch (const CancelledError&) {
        thrown = true;
      }
      co_await turns(2);
      went_on = true;
    };
    Future<void> receiver = spawn(receive());
    co_await turns(1);
    future.cancel();
    co_await receiver;
    CHECK(thrown);
    CHECK(went_on);
  });
}

TEST_CASE("a value that arrived before the cancellation is delivered") {
  Promise<int> promise;
  Future<int> future = promise.future();
  std::vector<int> values;
  run([&]() -> Task<> {
    Future<void> receiver = spawn(await_into(future, values));
    co_await turns(1);
    promise.set_result(5);
    receiver.cancel();
    co_await turns(1);
    CHECK(values == std::vector{5});
    CHECK_FALSE(receiver.cancelled());
  });
}

TEST_CASE("a cancelled coroutine still gets the value of a future that is done") {
  run([]() -> Task<> {
    States states;
    std::vector<int> values;
    bool second_throws = false;
    const auto body = [&]() -> Task<> {
      co_await support::throws<CancelledError>(sleep(1h));
      co_await await_into(states.succeeded_future, values);
      second_throws = co_await support::throws<CancelledError>(await_into(states.running_future, values));
    };
    Future<void> task = spawn(body());
    co_await turns(1);
    task.cancel();
    co_await task;
    CHECK(values == std::vector{42});
    CHECK(second_throws);
  });
}

TEST_CASE("a coroutine that is destroyed while it awaits a future leaves it, and stops its work") {
  Promise<int> promise;
  Future<int> future = promise.future();
  std::vector<int> values;
  run([&]() -> Task<> {
    support::Started receiver(await_into(future, values));
    receiver.destroy();
    CHECK(future.cancelled());
    co_await turns(2);
    CHECK(values.empty());
  });
}

TEST_CASE("a coroutine that is destroyed before it gets a future's value leaves the value alone") {
  Promise<int> promise;
  Future<int> future = promise.future();
  std::vector<int> values;
  run([&]() -> Task<> {
    support::Started receiver(await_into(future, values));
    promise.set_result(3);
    receiver.destroy();
    co_await turns(2);
    CHECK(values.empty());
    CHECK(future.result() == 3);
  });
}

TEST_CASE("a future that was moved from says so") {
  Promise<int> promise;
  Future<int> first = promise.future();
  Future<int> second(std::move(first));
  CHECK_THROWS_AS(first.done(), InvalidStateError);
  CHECK_THROWS_AS(first.cancel(), InvalidStateError);
  CHECK_THROWS_AS(first.result(), InvalidStateError);
  CHECK_THROWS_AS(first.add_done_callback([](Future<int>&) {}), InvalidStateError);
  first = std::move(second);
  CHECK_FALSE(first.done());
}

TEST_CASE("a future can be used where no loop is running") {
  std::optional<Future<int>> future;
  run([&]() -> Task<> {
    const auto body = []() -> Task<int> { co_return 8; };
    future.emplace(spawn(body()));
    co_await turns(1);
  });
  CHECK(future->done());
  CHECK(future->result() == 8);
  CHECK_FALSE(future->cancel());
}
