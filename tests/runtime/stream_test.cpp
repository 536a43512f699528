#include <cofork/runtime/event.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::Counted;
using support::turns;

namespace {

// The numbers below `end`; waits for `pauses` turns before each.
Stream<int> count(int end, int pauses = 0) {
  for (int value = 0; value < end; ++value) {
    co_await turns(pauses);
    co_yield value;
  }
}

Stream<int> count_then_fail(int end) {
  for (int value = 0; value < end; ++value) co_yield value;
  throw std::runtime_error("the source failed");
}

Stream<int> count_with(Counted counted) {
  const Counted local;
  for (;;) {
    co_await turns(1);
    co_yield counted.value++;
  }
}

Stream<int> wait_for_ever(Counted) {
  co_yield 1;
  co_await sleep(1h);
  co_yield 2;
}

Stream<int> doubled(Stream<int> input) {
  while (auto value = co_await input.next()) co_yield 2 * *value;
}

Task<> receive(Stream<int>& stream, std::vector<int>& into) {
  const std::optional<int> value = co_await stream.next();
  into.push_back(value.value_or(-1));
}

// A stream of `left` events, each of them a turn after the last.
class Ticks final : public detail::StreamSource<void> {
 public:
  explicit Ticks(int count) : left_(count) {}
  bool ready() override { return left_ == 0; }
  bool wait(detail::Waiter& waiter, std::coroutine_handle<> consumer, detail::Context* context) override {
    consumer_.wait(waiter, consumer, context);
    consumer_.wake();
    return true;
  }
  std::optional<std::monostate> take() override {
    if (left_ == 0) return std::nullopt;
    --left_;
    return std::monostate();
  }
  void close() noexcept override { left_ = 0; }

 private:
  detail::StreamConsumer consumer_;
  int left_;
};

}  // namespace

TEST_CASE("a stream gives its values one at a time, then nullopt for ever") {
  const int pauses = GENERATE(0, 1, 2);
  run([&]() -> Task<> {
    Stream<int> stream = count(3, pauses);
    std::vector<int> values;
    while (auto value = co_await stream.next()) values.push_back(*value);
    CHECK(values == std::vector{0, 1, 2});
    const std::optional<int> after = co_await stream.next();
    CHECK_FALSE(after.has_value());
  });
}

TEST_CASE("a stream's coroutine does not start before its first value is asked for") {
  run([]() -> Task<> {
    int reached = 0;
    const auto body = [&]() -> Stream<int> {
      reached = 1;
      co_yield 1;
      reached = 2;
      co_yield 2;
      reached = 3;
    };
    Stream<int> stream = body();
    co_await turns(2);
    CHECK(reached == 0);
    co_await stream.next();
    co_await turns(2);
    CHECK(reached == 1);
    co_await stream.next();
    CHECK(reached == 2);
    const std::optional<int> end = co_await stream.next();
    CHECK_FALSE(end.has_value());
    CHECK(reached == 3);
  });
}

TEST_CASE("awaiting a stream itself collects all its values") {
  run([]() -> Task<> {
    Stream<int> stream = count(1000, 1);
    const std::vector<int> values = co_await std::move(stream);
    CHECK(values.size() == 1000);
    CHECK(values.back() == 999);
    const std::vector<int> none = co_await count(0);
    CHECK(none.empty());
  });
}

TEST_CASE("a million values need no stack") {
  run([]() -> Task<> {
    long long sum = 0;
    Stream<int> stream = count(1'000'000);
    while (auto value = co_await stream.next()) sum += *value;
    CHECK(sum == 499'999'500'000);
  });
}

TEST_CASE("a stream gives what only moves, and references") {
  run([]() -> Task<> {
    const auto pointers = []() -> Stream<std::unique_ptr<int>> {
      co_yield std::make_unique<int>(1);
      auto second = std::make_unique<int>(2);
      co_yield std::move(second);
    };
    Stream<std::unique_ptr<int>> stream = pointers();
    int sum = 0;
    while (auto value = co_await stream.next()) sum += **value;
    CHECK(sum == 3);
    const std::vector<std::unique_ptr<int>> all = co_await pointers();
    CHECK(all.size() == 2);
  });
}

TEST_CASE("an exception ends a stream's coroutine") {
  run([]() -> Task<> {
    Stream<int> stream = count_then_fail(2);
    const auto next = [&]() -> Task<> { co_await stream.next(); };
    co_await next();
    co_await next();
    const bool threw = co_await support::throws<std::runtime_error>(next());
    CHECK(threw);
    const std::optional<int> after = co_await stream.next();
    CHECK_FALSE(after.has_value());
  });
}

TEST_CASE("collecting a stream that fails rethrows its error") {
  run([]() -> Task<> {
    Stream<int> stream = count_then_fail(2);
    const auto collect = [&]() -> Task<> { co_await std::move(stream); };
    const bool threw = co_await support::throws<std::runtime_error>(collect());
    CHECK(threw);
  });
}

TEST_CASE("closing a stream destroys its coroutine where it is suspended") {
  Counted::reset();
  run([]() -> Task<> {
    Stream<int> stream = count_with(Counted(10));
    const std::optional<int> first = co_await stream.next();
    CHECK(first == 10);
    CHECK(Counted::alive() == 2);
    stream.close();
    CHECK(Counted::alive() == 0);
    const std::optional<int> after = co_await stream.next();
    CHECK_FALSE(after.has_value());
    stream.close();
  });
  CHECK(Counted::alive() == 0);
}

TEST_CASE("dropping a stream closes it, whether it has begun or not") {
  Counted::reset();
  run([]() -> Task<> {
    {
      const Stream<int> never_begun = count_with(Counted(1));
      Stream<int> begun = count_with(Counted(1));
      co_await begun.next();
      CHECK(Counted::alive() == 3);
    }
    CHECK(Counted::alive() == 0);
  });
}

TEST_CASE("a stream can be dropped when its loop has ended") {
  Counted::reset();
  std::optional<Stream<int>> stream;
  run([&]() -> Task<> {
    stream.emplace(count_with(Counted(1)));
    co_await stream->next();
  });
  CHECK(Counted::alive() == 2);
  stream.reset();
  CHECK(Counted::alive() == 0);
}

TEST_CASE("a stream that is assigned to is closed first") {
  Counted::reset();
  run([]() -> Task<> {
    Stream<int> stream = count_with(Counted(1));
    co_await stream.next();
    stream = count(1);
    CHECK(Counted::alive() == 0);
    const std::optional<int> value = co_await stream.next();
    CHECK(value == 0);
  });
}

TEST_CASE("a second consumer of a stream is an error") {
  std::vector<int> values;
  run([&]() -> Task<> {
    Stream<int> stream = count(3, 2);
    Future<void> first = spawn(receive(stream, values));
    co_await turns(1);
    const bool threw = co_await support::throws<std::logic_error>(receive(stream, values));
    CHECK(threw);
    co_await first;
    CHECK(values == std::vector{0});
    co_await receive(stream, values);
    CHECK(values == std::vector{0, 1});
  });
}

TEST_CASE("closing a stream ends the wait of its consumer") {
  Counted::reset();
  std::vector<int> values;
  run([&]() -> Task<> {
    Stream<int> stream = wait_for_ever(Counted());
    co_await receive(stream, values);
    Future<void> consumer = spawn(receive(stream, values));
    co_await turns(2);
    CHECK_FALSE(consumer.done());
    stream.close();
    CHECK(Counted::alive() == 0);
    co_await consumer;
    CHECK(values == std::vector{1, -1});
  });
}

TEST_CASE("cancelling the consumer of a stream cancels the stream's coroutine") {
  Counted::reset();
  std::vector<int> values;
  run([&]() -> Task<> {
    Stream<int> stream = wait_for_ever(Counted());
    co_await receive(stream, values);
    Future<void> consumer = spawn(receive(stream, values));
    co_await turns(2);
    consumer.cancel();
    co_await turns(2);
    CHECK(consumer.cancelled());
    CHECK(Counted::alive() == 0);
    co_await receive(stream, values);
    CHECK(values == std::vector{1, -1});
  });
}

TEST_CASE("a cancelled consumer gets the values that a stream has at once") {
  std::vector<int> values;
  bool threw = false;
  const auto body = [&]() -> Task<> {
    Stream<int> stream = count(2, 0);
    Stream<int> pausing = count(2, 1);
    co_await support::throws<CancelledError>(sleep(1h));
    co_await receive(stream, values);
    threw = co_await support::throws<CancelledError>(receive(pausing, values));
  };
  run([&]() -> Task<> {
    Future<void> task = spawn(body());
    co_await turns(1);
    task.cancel();
    co_await task;
    CHECK(values == std::vector{0});
    CHECK(threw);
  });
}

TEST_CASE("a stream's coroutine may catch the cancellation of its consumer and yield") {
  const auto stubborn = []() -> Stream<int> {
    co_await support::throws<CancelledError>(sleep(1h));
    co_yield 7;
  };
  std::vector<int> values;
  run([&]() -> Task<> {
    Stream<int> stream = stubborn();
    Future<void> consumer = spawn(receive(stream, values));
    co_await turns(1);
    consumer.cancel();
    co_await turns(2);
    CHECK_FALSE(consumer.cancelled());
    CHECK(values == std::vector{7});
  });
}

TEST_CASE("a consumer that is destroyed while it waits closes its stream") {
  Counted::reset();
  std::vector<int> values;
  run([&]() -> Task<> {
    Stream<int> stream = wait_for_ever(Counted());
    co_await receive(stream, values);
    support::Started consumer(receive(stream, values));
    consumer.destroy();
    CHECK(Counted::alive() == 0);
    co_await receive(stream, values);
    CHECK(values == std::vector{1, -1});
  });
}

TEST_CASE("a consumer that is destroyed after its stream was closed is not resumed") {
  std::vector<int> values;
  run([&]() -> Task<> {
    Stream<int> stream = wait_for_ever(Counted());
    co_await receive(stream, values);
    support::Started consumer(receive(stream, values));
    stream.close();
    consumer.destroy();
    co_await turns(2);
    CHECK(values == std::vector{1});
  });
}

TEST_CASE("a stream changes hands between its values") {
  std::vector<int> values;
  run([&]() -> Task<> {
    Stream<int> stream = count(20, 1);
    for (int round = 0; round < 5; ++round) {
      Future<void> consumer = spawn(receive(stream, values));
      co_await consumer;
      co_await receive(stream, values);
    }
    CHECK(values == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  });
}

TEST_CASE("streams are made of streams") {
  run([]() -> Task<> {
    Stream<int> stream = count(4, 1);
    for (int level = 0; level < 10; ++level) stream = doubled(std::move(stream));
    const std::vector<int> values = co_await std::move(stream);
    CHECK(values == std::vector{0, 1024, 2048, 3072});
  });
}

TEST_CASE("a stream of nothing tells that something happened") {
  run([]() -> Task<> {
    Stream<void> stream(std::make_unique<Ticks>(3));
    int ticks = 0;
    for (;;) {
      const bool more = co_await stream.next();
      if (!more) break;
      ++ticks;
    }
    CHECK(ticks == 3);
    Stream<void> collected(std::make_unique<Ticks>(3));
    co_await std::move(collected);
  });
}

TEST_CASE("a stream that was moved from says so") {
  Stream<int> stream = count(1);
  const Stream<int> taken = std::move(stream);
  CHECK_THROWS_AS(stream.next(), InvalidStateError);
  CHECK_NOTHROW(stream.close());
}

TEST_CASE("the wait for a stream's next value converts to a task") {
  run([]() -> Task<> {
    Stream<int> stream = count(2, 1);
    Task<std::optional<int>> task = stream.next();
    const std::optional<int> value = co_await std::move(task);
    CHECK(value == 0);
    Future<std::optional<int>> future = spawn<std::optional<int>>(stream.next());
    const std::optional<int> second = co_await std::move(future);
    CHECK(second == 1);
  });
}
