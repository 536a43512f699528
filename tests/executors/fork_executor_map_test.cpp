#include <list>
#include <map>
#include <ranges>
#include <string_view>

#include <cofork/ipc/queue.hpp>

#include "executors/fork_harness.hpp"

using namespace fork_test;
using cofork::ForkExecutor;
using cofork::Stream;
using cofork::Task;

namespace {
/// No codec, no copies.
struct Node {
  explicit Node(int number) : value(number), self(this) {}
  Node(const Node&) = delete;
  int value;
  const Node* self;
};
}  // namespace

TEST_CASE("ForkExecutor map: reads the items in the snapshot, where they lie") {
  cofork::run([]() -> Task<> {
    std::list<Node> nodes;
    for (int i = 0; i < 500; ++i) nodes.emplace_back(i);
    const int offset = 1000;
    ForkExecutor executor(2);
    auto stream = executor.map([&](const Node& node) { return (node.self == &node ? offset : 0) + node.value; }, nodes);
    nodes.clear();
    int expected = 1000;
    while (auto value = co_await stream.next()) {
      if (*value != expected++) FAIL(*value);
    }
    CHECK(expected == 1500);
  });
}

TEST_CASE("ForkExecutor map: the input is what it was at the call") {
  cofork::run([]() -> Task<> {
    std::vector<int> numbers(10, 1);
    ForkExecutor executor(2);
    auto stream = executor.map([](int x) { return x; }, numbers);
    numbers.assign(20, 2);
    const std::vector<int> results = co_await std::move(stream);
    CHECK(results == std::vector<int>(10, 1));
  });
}

TEST_CASE("ForkExecutor map: owned ranges, views and several ranges, as long as the shortest") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const std::vector<std::string> names{"a", "b", "c"};
    auto join = [&](const std::string& name, int x, double y) {
      return name + std::to_string(x + static_cast<int>(y));
    };
    auto stream = executor.map(join, names, std::views::iota(1), std::vector<double>{1, 2, 3, 4});
    const std::vector<std::string> results = co_await std::move(stream);
    CHECK(results == std::vector<std::string>{"a2", "b4", "c6"});
    auto squares = executor.map([](int x) { return x; }, std::views::iota(0, 4) | std::views::transform(square));
    const std::vector<int> squared = co_await std::move(squares);
    CHECK(squared == std::vector<int>{0, 1, 4, 9});
    auto bits = executor.map([](bool bit) { return !bit; }, std::vector<bool>{true, false});
    const std::vector<bool> inverted = co_await std::move(bits);
    CHECK(inverted == std::vector<bool>{false, true});
    auto none = executor.map([](int x) { return x; }, std::vector<int>());
    const std::vector<int> nothing = co_await std::move(none);
    CHECK(nothing.empty());
  });
}

TEST_CASE("ForkExecutor map: a range without size or random access travels by its codec") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const int factor = 3;
    auto odd = std::views::iota(0) | std::views::filter([](int x) { return x % 2 == 1; });
    auto stream = executor.map([&](int x) { return x * factor; }, odd);
    for (int expected = 3; expected < 300; expected += 6) {
      const auto value = co_await stream.next();
      if (*value != expected) FAIL(*value);
    }
    stream.close();
    auto words = std::vector<std::string>{"x", "", "y"};
    auto some = words | std::views::filter([](const std::string& word) { return !word.empty(); });
    auto views = executor.map([&](std::string_view word) { return std::string(word) + std::to_string(factor); }, some);
    const std::vector<std::string> results = co_await std::move(views);
    CHECK(results == std::vector<std::string>{"x3", "y3"});
  });
}

TEST_CASE("ForkExecutor map: a stream is an input") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const int factor = 3;
    auto count = []() -> Stream<int> {
      for (int i = 0; i < 200; ++i) {
        if (i % 50 == 0) co_await cofork::sleep(1ms);
        co_yield i;
      }
    };
    auto stream = executor.map([&](int x) { return x * factor; }, count());
    int expected = 0;
    while (auto value = co_await stream.next()) {
      if (*value != 3 * expected++) FAIL(*value);
    }
    CHECK(expected == 200);
  });
}

TEST_CASE("ForkExecutor starmap: tuples in the snapshot, and tuples that travel") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const std::map<std::string, int> table{{"a", 1}, {"b", 2}};
    const std::string mark = "!";
    auto join = [&](const std::string& key, int value) { return key + std::to_string(value) + mark; };
    auto stream = executor.starmap(join, table);
    const std::vector<std::string> results = co_await std::move(stream);
    CHECK(results == std::vector<std::string>{"a1!", "b2!"});
    std::vector<std::tuple<std::string, int>> tuples{{"x", 1}, {"y", 2}, {"z", 3}};
    auto some = tuples | std::views::filter([](const auto& tuple) { return std::get<1>(tuple) != 2; });
    auto filtered = executor.starmap(join, some);
    const std::vector<std::string> others = co_await std::move(filtered);
    CHECK(others == std::vector<std::string>{"x1!", "z3!"});
  });
}

TEST_CASE("ForkExecutor map: a function that returns a Task") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const std::vector<std::string> words{"a", "b"};
    auto later = [&](const std::string& word, const std::string& made) -> Task<std::string> {
      co_await cofork::sleep(1ms);
      co_return word + made;
    };
    auto numbers = std::views::iota(0) | std::views::transform([](int i) { return std::string(30, char('0' + i)); });
    auto stream = executor.map(later, words, numbers);
    const std::vector<std::string> results = co_await std::move(stream);
    CHECK(results == std::vector<std::string>{"a" + std::string(30, '0'), "b" + std::string(30, '1')});
  });
}

TEST_CASE("ForkExecutor map: a hundred thousand items, in order and as they complete", "[limit:120]") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    std::vector<int> numbers(100'000);
    std::iota(numbers.begin(), numbers.end(), 0);
    auto stream = executor.map([&](const int& x) { return x + static_cast<int>(numbers.size()); }, numbers);
    int expected = 100'000;
    while (auto value = co_await stream.next())
      if (*value != expected++) FAIL(*value);
    CHECK(expected == 200'000);
    auto unordered = executor.map(
        {.ordered = false}, [&](const int& x) { return x; }, numbers);
    std::vector<bool> seen(numbers.size());
    std::size_t count = 0;
    while (auto value = co_await unordered.next()) {
      if (seen[static_cast<std::size_t>(*value)]) FAIL(*value);
      seen[static_cast<std::size_t>(*value)] = true;
      ++count;
    }
    CHECK(count == numbers.size());
  });
}

TEST_CASE("ForkExecutor map: an infinite range, closed early, leaves no process") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    {
      auto stream = executor.map([](std::uint64_t x) { return x; }, std::views::iota(std::uint64_t{0}));
      for (std::uint64_t expected = 0; expected < 1000; ++expected) {
        const auto value = co_await stream.next();
        if (*value != expected) FAIL(*value);
      }
      stream.close();
      const auto end = co_await stream.next();
      CHECK_FALSE(end);
    }
    const bool gone = co_await until([] { return children() == 0; });
    CHECK(gone);
    CHECK(executor.stats().workers == 0);
  });
}

TEST_CASE("ForkExecutor map: the children end with the stream, and with one that is dropped") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(2);
    auto stream = executor.map(square, std::vector<int>{1, 2, 3});
    while (co_await stream.next()) {
    }
    const bool ended = co_await until([] { return children() == 0; });
    CHECK(ended);
    {
      auto dropped = executor.map([](int i) { return never_end(i); }, std::vector<int>{0, 1});
      const bool begun = co_await until([&] { return shared[0] == 1; });
      CHECK(begun);
    }
    const bool killed = co_await until([] { return children() == 0; });
    CHECK(killed);
  });
}

TEST_CASE("ForkExecutor map: errors and deaths are of their items alone") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const int bad = 3, deadly = 5;
    auto stream = executor.map(
        [&](int x) {
          if (x == bad) throw std::domain_error("three");
          if (x == deadly) ::raise(SIGSEGV);
          return x;
        },
        std::views::iota(0, 8));
    std::vector<std::string> got;
    for (bool more = true; more;) {
      try {
        const auto value = co_await stream.next();
        more = value.has_value();
        if (more) got.push_back(std::to_string(*value));
      } catch (const std::domain_error& error) {
        got.push_back(error.what());
      } catch (const cofork::WorkerDied& error) {
        got.push_back("died");
        CHECK(contains(error.task_name(), "lambda"));
      }
    }
    CHECK(got == std::vector<std::string>{"0", "1", "2", "three", "4", "died", "6", "7"});
  });
}

TEST_CASE("ForkExecutor map: retries and item_timeout") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(2);
    const auto once = [&](int x) {
      if (x == 2 && shared[0]++ == 0) ::abort();
      return x;
    };
    auto retried = executor.map({.retries = 1}, once, std::views::iota(0, 4));
    const std::vector<int> results = co_await std::move(retried);
    CHECK(results == std::vector<int>{0, 1, 2, 3});
    const auto hang = [&](int x) { return x == 1 ? never_end(1) : x; };
    // Until there was time enough for the others.
    bool in_time = false;
    for (std::chrono::milliseconds timeout = 100ms; !in_time; timeout *= 2) {
      const auto completed = executor.stats().completed;
      const auto deadline = std::chrono::steady_clock::now() + timeout;
      auto timed = executor.map({.chunksize = 1, .item_timeout = timeout}, hang, std::views::iota(0, 3));
      in_time = co_await holds_before(deadline, [&] { return executor.stats().completed == completed + 2; });
      if (!in_time) continue;
      const auto first = co_await timed.next();
      CHECK(*first == 0);
      const std::string what = co_await thrown_by_next<cofork::TimeoutError>(timed);
      CHECK(contains(what, "timeout"));
      const auto last = co_await timed.next();
      CHECK(*last == 2);
    }
  });
}

TEST_CASE("ForkExecutor map: a timeout of the whole") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(2);
    auto stream = executor.map(
        {.timeout = 50ms}, [](int i) { return never_end(i); }, std::vector<int>{0, 1});
    const std::string what = co_await thrown_by_next<cofork::TimeoutError>(stream);
    CHECK(contains(what, "exceeded"));
    const auto end = co_await stream.next();
    CHECK_FALSE(end);
    const bool gone = co_await until([] { return children() == 0; });
    CHECK(gone);
  });
}

TEST_CASE("ForkExecutor map: captured handles work in its children") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    cofork::ipc::Queue<int> queue;
    auto stream = executor.map([&](int x) { queue.blocking_put(x); }, std::views::iota(0, 20));
    co_await std::move(stream);
    int sum = 0;
    for (int i = 0; i < 20; ++i) sum += co_await queue.get();
    CHECK(sum == 190);
  });
}

TEST_CASE("ForkExecutor map: if the copy is killed the stream says so, and ends") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    auto stream = executor.map(
        {.chunksize = 1}, [](int i) { return wait_at_gate(i, 30); }, std::views::iota(0, 5));
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    pid_t copy = 0;
    if (std::FILE* file = std::fopen("/proc/thread-self/children", "re")) {
      CHECK(std::fscanf(file, "%d", &copy) == 1);
      std::fclose(file);
    }
    ::kill(copy, SIGKILL);
    const std::string first = co_await thrown_by_next<cofork::WorkerDied>(stream);
    CHECK(contains(first, "died"));
    bool broken = false;
    for (int i = 0; i < 10 && !broken; ++i) {
      const std::string what = co_await thrown_by_next<cofork::BrokenProcessPool>(stream);
      UNSCOPED_INFO(what);
      broken = contains(what, "no worker of the pool can be started");
    }
    CHECK(broken);
    const int value = co_await executor.submit(&square, 3);
    CHECK(value == 9);
  });
}

TEST_CASE("ForkExecutor map: maps of the same function at the same time, and one inside another") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    std::vector<Stream<int>> streams;
    std::vector<int> numbers{1, 2, 3};
    for (int factor = 1; factor <= 3; ++factor)
      streams.push_back(executor.map([factor](int x) { return factor * x; }, numbers));
    for (int factor = 1; factor <= 3; ++factor) {
      const std::vector<int> results = co_await std::move(streams[static_cast<std::size_t>(factor - 1)]);
      CHECK(results == std::vector<int>{factor, 2 * factor, 3 * factor});
    }
    struct Nested {
      static Task<int> sum(int depth, int base) {
        if (depth == 0) co_return base;
        ForkExecutor inner(2);
        auto stream = inner.map([depth, base](int x) { return sum(depth - 1, base + x); }, std::vector<int>{1, 2, 3});
        const std::vector<int> results = co_await std::move(stream);
        co_return std::accumulate(results.begin(), results.end(), 0);
      }
    };
    const int total = co_await Nested::sum(2, 0);
    CHECK(total == 36);
  });
}

TEST_CASE("ForkExecutor map: a hundred maps one after the other leave nothing") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    for (int i = 0; i < 100; ++i) {
      auto stream = executor.map([&](int x) { return x + i; }, std::vector<int>{1, 2, 3});
      const std::vector<int> results = co_await std::move(stream);
      if (results != std::vector<int>{1 + i, 2 + i, 3 + i}) FAIL(i);
    }
    co_await executor.shutdown();
    CHECK(children() == 0);
    CHECK(executor.stats().completed == 300);
  });
}

TEST_CASE("ForkExecutor map: shutdown waits for maps that are sent") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    auto stream = executor.map(square, std::vector<int>{1, 2, 3});
    co_await executor.shutdown();
    CHECK(children() == 0);
    const std::vector<int> results = co_await std::move(stream);
    CHECK(results == std::vector<int>{1, 4, 9});
  });
}
