// Queues within one process: what the functions do, and when they throw.
#include <atomic>
#include <chrono>
#include <cofork/ipc/queue.hpp>
#include <cofork/ipc/simple_queue.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace std::chrono_literals;
using cofork::QueueEmpty;
using cofork::QueueFull;
using cofork::QueueShutDown;
using cofork::Task;
using cofork::ipc::Queue;
using cofork::ipc::SimpleQueue;

TEST_CASE("a queue gives what was put, in order") {
  Queue<std::string> queue;
  CHECK(queue.empty());
  CHECK_FALSE(queue.full());
  queue.blocking_put("one");
  queue.put_nowait("two");
  CHECK(queue.qsize() == 2);
  cofork::run([&]() -> Task<> {
    co_await queue.put("three");
    co_await queue.put("four", 30s);
    const std::string first = co_await queue.get();
    CHECK(first == "one");
    const std::string second = co_await queue.get(30s);
    CHECK(second == "two");
    const auto third = co_await queue.next();
    CHECK(third == "three");
  }());
  CHECK(queue.blocking_get(0s) == "four");
  CHECK(queue.empty());
}

TEST_CASE("a full queue takes no more, and an empty one gives nothing") {
  Queue<int> queue(3);
  for (const int i : {1, 2, 3}) queue.put_nowait(i);
  CHECK(queue.full());
  CHECK_THROWS_AS(queue.put_nowait(4), QueueFull);
  CHECK_THROWS_AS(queue.blocking_put(4, 0s), QueueFull);
  CHECK_THROWS_AS(queue.blocking_put(4, -1s), QueueFull);
  const auto before_put = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(queue.blocking_put(4, 20ms), QueueFull);
  CHECK(std::chrono::steady_clock::now() - before_put >= 20ms);
  cofork::run([&]() -> Task<> {
    auto put = queue.put(4, 5ms);
    CHECK_THROWS_AS(co_await std::move(put), QueueFull);
  }());
  CHECK(queue.qsize() == 3);
  for (const int i : {1, 2, 3}) CHECK(queue.get_nowait() == i);
  CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
  CHECK_THROWS_AS(queue.blocking_get(0s), QueueEmpty);
  const auto before_get = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(queue.blocking_get(20ms), QueueEmpty);
  CHECK(std::chrono::steady_clock::now() - before_get >= 20ms);
  cofork::run([&]() -> Task<> {
    auto get = queue.get(5ms);
    CHECK_THROWS_AS(co_await std::move(get), QueueEmpty);
  }());
}

TEST_CASE("put waits for room and get for a message") {
  cofork::run([]() -> Task<> {
    Queue<int> queue(2);
    std::vector<int> got;
    auto producing = [](Queue<int> to) -> Task<> {
      for (int i = 0; i < 1000; ++i) co_await to.put(i);
    };
    auto consuming = [](Queue<int> from, std::vector<int>& into) -> Task<> {
      for (int i = 0; i < 1000; ++i) {
        const int message = co_await from.get();
        into.push_back(message);
        CHECK(from.qsize() <= 2);
      }
    };
    co_await cofork::gather(consuming(queue, got), producing(queue));
    std::vector<int> expected;
    for (int i = 0; i < 1000; ++i) expected.push_back(i);
    CHECK(got == expected);
  }());
}

TEST_CASE("a closed queue is closed for that handle only") {
  Queue<int> queue;
  Queue<int> other = queue;
  queue.put_nowait(1);
  queue.close();
  queue.close();
  CHECK_THROWS_AS(queue.put_nowait(2), std::logic_error);
  CHECK_THROWS_AS(queue.get_nowait(), std::logic_error);
  CHECK_THROWS_AS(queue.qsize(), std::logic_error);
  CHECK_THROWS_AS(queue.shutdown(), std::logic_error);
  CHECK_THROWS_AS(queue.put(2), std::logic_error);
  CHECK(other.get_nowait() == 1);
}

TEST_CASE("blocking functions of a queue refuse to block a loop") {
  Queue<int> queue;
  cofork::run([&]() -> Task<> {
    CHECK_THROWS_AS(queue.blocking_put(1), std::logic_error);
    CHECK_THROWS_AS(queue.blocking_get(), std::logic_error);
    co_return;
  }());
}

TEST_CASE("a queue that was shut down gives what is left") {
  Queue<int> queue;
  queue.put_nowait(1);
  queue.put_nowait(2);
  queue.shutdown();
  queue.shutdown();
  CHECK_THROWS_AS(queue.put_nowait(3), QueueShutDown);
  CHECK_THROWS_AS(queue.blocking_put(3), QueueShutDown);
  CHECK(queue.get_nowait() == 1);
  cofork::run([&]() -> Task<> {
    const auto second = co_await queue.next();
    CHECK(second == 2);
    const auto end = co_await queue.next();
    CHECK_FALSE(end.has_value());
    auto get = queue.get();
    CHECK_THROWS_AS(co_await std::move(get), QueueShutDown);
  }());
  CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
  CHECK_THROWS_AS(queue.blocking_get(), QueueShutDown);
}

TEST_CASE("shutting a queue down wakes those who wait") {
  cofork::run([]() -> Task<> {
    Queue<int> empty, full(1);
    full.put_nowait(1);
    auto getting = cofork::spawn(empty.get());
    auto reading = cofork::spawn(empty.next());
    auto putting = cofork::spawn(full.put(2));
    co_await cofork::sleep(5ms);
    empty.shutdown();
    full.shutdown();
    CHECK_THROWS_AS(co_await std::move(getting), QueueShutDown);
    const auto end = co_await std::move(reading);
    CHECK_FALSE(end.has_value());
    CHECK_THROWS_AS(co_await std::move(putting), QueueShutDown);
    CHECK(full.qsize() == 1);
  }());
}

TEST_CASE("cancelling get and put loses nothing") {
  cofork::run([]() -> Task<> {
    Queue<int> queue(1);
    auto get = queue.get();
    CHECK_THROWS_AS(co_await cofork::wait_for(std::move(get), 2ms), cofork::TimeoutError);
    queue.put_nowait(1);
    auto put = queue.put(2);
    CHECK_THROWS_AS(co_await cofork::wait_for(std::move(put), 2ms), cofork::TimeoutError);
    CHECK(queue.qsize() == 1);
    const int only = co_await queue.get();
    CHECK(only == 1);
    CHECK(queue.empty());
    // Cancelled at the moment at which there is something to take.
    for (int i = 0; i < 100; ++i) {
      auto waiting = cofork::spawn(queue.get());
      co_await cofork::sleep(0s);
      queue.put_nowait(i);
      if (i % 2) co_await cofork::sleep(0s);
      waiting.cancel();
      try {
        const int got = co_await waiting;
        CHECK(got == i);
      } catch (const cofork::CancelledError&) {
        CHECK(queue.get_nowait() == i);
      }
    }
    CHECK(queue.empty());
  }());
}

TEST_CASE("next waits while this process may still put something") {
  cofork::run([]() -> Task<> {
    Queue<int> queue;
    auto reading = cofork::spawn(queue.next());
    co_await cofork::sleep(2ms);
    CHECK_FALSE(reading.done());
    co_await queue.put(7);
    const auto message = co_await std::move(reading);
    CHECK(message == 7);
    auto waiting = cofork::spawn(queue.next());
    co_await cofork::sleep(2ms);
    CHECK_FALSE(waiting.done());
    queue.shutdown();
    const auto end = co_await std::move(waiting);
    CHECK_FALSE(end.has_value());
  }());
}

TEST_CASE("messages of all lengths go through a queue") {
  Queue<std::string> queue;
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size < 300; ++size) sizes.push_back(size);
  for (std::size_t power = 9; power <= 24; ++power)
    for (const std::size_t size :
         {(std::size_t{1} << power) - 17, std::size_t{1} << power, (std::size_t{1} << power) + 9})
      sizes.push_back(size);
  const auto text = [](std::size_t size) {
    std::string value(size, '\0');
    for (std::size_t i = 0; i < size; ++i) value[i] = static_cast<char>(i * 31 + size);
    return value;
  };
  bool right = true;
  for (const std::size_t size : sizes) {
    queue.put_nowait(text(size));
    right = right && queue.get_nowait() == text(size);
  }
  CHECK(right);
  for (const std::size_t size : sizes) queue.put_nowait(text(size));
  CHECK(queue.qsize() == sizes.size());
  for (const std::size_t size : sizes) right = right && queue.get_nowait() == text(size);
  CHECK(right);
  CHECK(queue.empty());
}

TEST_CASE("a message of 256 MiB goes through a queue", "[limit:120]") {
  Queue<std::vector<std::uint64_t>> queue;
  std::vector<std::uint64_t> large(std::size_t{32} << 20);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = i * 0x9e3779b97f4a7c15;
  queue.put_nowait({1});
  queue.put_nowait(large);
  queue.put_nowait({2});
  CHECK(queue.get_nowait() == std::vector<std::uint64_t>{1});
  CHECK((queue.get_nowait() == large));
  CHECK(queue.get_nowait() == std::vector<std::uint64_t>{2});
}

TEST_CASE("a queue that had grown goes on when it was emptied") {
  Queue<std::vector<char>> queue;
  std::uint64_t put = 0, got = 0;
  bool right = true;
  const auto size_of = [](std::uint64_t i) { return static_cast<std::size_t>(i * 7919 % 200'000); };
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 200; ++i, ++put) queue.put_nowait(std::vector<char>(size_of(put), static_cast<char>(put)));
    CHECK(queue.qsize() == put - got);
    const std::uint64_t until = round % 2 ? put : got + 60;
    for (; got < until; ++got)
      right = right && queue.get_nowait() == std::vector<char>(size_of(got), static_cast<char>(got));
  }
  CHECK(right);
  CHECK(queue.empty());
}

TEST_CASE("all kinds of values go through a queue") {
  using Value = std::map<std::string, std::vector<double>>;
  Queue<Value> queue;
  const Value value = {{"a", {1, 2}}, {"b", {}}, {"", {3}}};
  queue.put_nowait(value);
  CHECK(queue.get_nowait() == value);
  Queue<std::unique_ptr<int>> pointers;
  cofork::run([&]() -> Task<> {
    co_await pointers.put(std::make_unique<int>(5));
    const std::unique_ptr<int> got = co_await pointers.get();
    CHECK(*got == 5);
  }());
  struct Nothing {};
  Queue<Nothing> nothing;
  nothing.put_nowait({});
  static_cast<void>(nothing.get_nowait());
  CHECK(nothing.empty());
}

TEST_CASE("a simple queue puts, gets and is empty") {
  SimpleQueue<std::string> queue;
  CHECK(queue.empty());
  queue.blocking_put("a");
  cofork::run([&]() -> Task<> {
    co_await queue.put("b");
    const std::string first = co_await queue.get();
    CHECK(first == "a");
  }());
  CHECK_FALSE(queue.empty());
  CHECK(queue.blocking_get() == "b");
  CHECK(queue.empty());
  queue.close();
  queue.close();
  CHECK_THROWS_AS(queue.empty(), std::logic_error);
}

TEST_CASE("threads of one process share a queue", "[threads]") {
  constexpr int producers = 2, consumers = 3;
  constexpr int each = 6000;
  Queue<std::pair<int, int>> queue(64);
  std::atomic<int> left{producers * each};
  std::vector<std::vector<std::pair<int, int>>> got(consumers);
  {
    std::vector<std::thread> threads;
    for (int p = 0; p < producers; ++p)
      threads.emplace_back([&, p] {
        for (int i = 0; i < each; ++i) queue.blocking_put({p, i});
      });
    for (int c = 0; c < consumers; ++c)
      threads.emplace_back([&, c] {
        auto& mine = got[static_cast<std::size_t>(c)];
        while (left-- > 0) mine.push_back(queue.blocking_get());
      });
    for (std::thread& thread : threads) thread.join();
  }
  std::vector<std::vector<int>> times(producers, std::vector<int>(each));
  bool in_order = true;
  for (const auto& mine : got) {
    std::vector<int> last(producers, -1);
    for (const auto& [producer, number] : mine) {
      const auto p = static_cast<std::size_t>(producer);
      in_order = in_order && number > last[p];
      last[p] = number;
      ++times[p][static_cast<std::size_t>(number)];
    }
  }
  CHECK(in_order);
  CHECK(times == std::vector<std::vector<int>>(producers, std::vector<int>(each, 1)));
  CHECK(queue.empty());
}
