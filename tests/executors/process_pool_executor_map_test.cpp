#include <algorithm>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/stream.hpp>
#include <iterator>
#include <list>
#include <numeric>
#include <optional>
#include <ranges>
#include <tuple>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::MapOptions;
using cofork::ProcessPoolExecutor;
using cofork::Stream;
using cofork::Task;

namespace {

int odd_only(int x) {
  if (x % 2 == 0) throw std::invalid_argument(std::to_string(x));
  return x;
}

// An input range that can be read once and counts what was taken from it.
class Counting : public std::ranges::view_base {
 public:
  struct Iterator {
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    int operator*() const { return *pulled_ - 1; }
    Iterator& operator++() {
      if (++*pulled_ == fail_at_) throw std::domain_error("the input failed");
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return *pulled_ > end_; }
    int* pulled_;
    int end_;
    int fail_at_;
  };
  explicit Counting(int& pulled, int end = 1 << 30, int fail_at = -1)
      : pulled_(&pulled), end_(end), fail_at_(fail_at) {}
  Iterator begin() {
    ++*pulled_;
    return {pulled_, end_, fail_at_};
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  int* pulled_;
  int end_, fail_at_;
};
static_assert(std::ranges::input_range<Counting> && !std::ranges::sized_range<Counting>);

// Every result of a stream, the errors as text.
template <class T>
Task<std::vector<std::string>> outcomes(Stream<T> stream) {
  std::vector<std::string> all;
  for (;;) {
    try {
      const std::optional<T> value = co_await stream.next();
      if (!value) break;
      all.push_back(std::to_string(*value));
    } catch (const std::exception& error) {
      all.push_back(std::string("error ") + error.what());
    }
  }
  co_return all;
}

}  // namespace

TEST_CASE("map gives every result in the order of its input") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const std::size_t chunksize : {0, 1, 2, 7, 100'000}) {
      INFO("chunksize " << chunksize);
      const auto input = std::views::iota(0, 5000);
      const std::vector<int> squares = co_await pool.map(MapOptions{.chunksize = chunksize}, square, input);
      REQUIRE(squares.size() == 5000);
      bool right = true;
      for (int i = 0; i < 5000; ++i) right &= squares[static_cast<std::size_t>(i)] == i * i;
      CHECK(right);
    }
    const std::list<int> few{3, 1, 2};
    const std::vector<int> of_lvalue = co_await pool.map(square, few);
    CHECK(of_lvalue == std::vector<int>{9, 1, 4});
    std::vector<int> moved{5};
    const std::vector<int> of_rvalue = co_await pool.map(square, std::move(moved));
    CHECK(of_rvalue == std::vector<int>{25});
    const std::vector<int> none = co_await pool.map(square, std::vector<int>());
    CHECK(none.empty());
  });
}

TEST_CASE("map without order gives each result once") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<int> squares = co_await pool.map({.ordered = false}, square, std::views::iota(0, 3000));
    std::sort(squares.begin(), squares.end());
    REQUIRE(squares.size() == 3000);
    bool right = true;
    for (int i = 0; i < 3000; ++i) right &= squares[static_cast<std::size_t>(i)] == i * i;
    CHECK(right);
  });
}

TEST_CASE("map without order does not wait for the slow") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto wait_if_zero = [](int x) {
      if (x == 0) pass_gate(0);
      return x;
    };
    auto stream = pool.map({.ordered = false}, wait_if_zero, std::views::iota(0, 10));
    int sum = 0;
    for (int i = 0; i < 9; ++i) {
      const std::optional<int> value = co_await stream.next();
      REQUIRE(value);
      sum += *value;
    }
    CHECK(sum == 45);
    shared[0] = 1;
    const std::optional<int> last = co_await stream.next();
    CHECK(last == 0);
    const std::optional<int> end = co_await stream.next();
    CHECK_FALSE(end);
  });
}

TEST_CASE("map over several ranges ends with the shortest and starmap takes tuples apart") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto join = [](int a, std::string b, double c) { return std::to_string(a) + b + std::to_string(int(c)); };
    const std::vector<std::string> letters{"a", "b", "c"};
    std::vector<double> numbers{7, 8, 9, 10};
    const std::vector<std::string> joined = co_await pool.map(join, std::views::iota(0), letters, std::move(numbers));
    CHECK(joined == std::vector<std::string>{"0a7", "1b8", "2c9"});
    const std::vector<std::tuple<int, std::string, double>> tuples{{4, "x", 1}, {5, "y", 2}};
    const std::vector<std::string> starred = co_await pool.starmap(join, tuples);
    CHECK(starred == std::vector<std::string>{"4x1", "5y2"});
    const std::vector<std::pair<int, int>> pairs{{1, 2}, {3, 4}};
    const std::vector<int> sums = co_await pool.starmap(
        {.chunksize = 2}, [](int a, int b) { return a + b; }, pairs);
    CHECK(sums == std::vector<int>{3, 7});
  });
}

TEST_CASE("map pulls no more than its buffer ahead of what was taken") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const std::size_t buffersize : {1, 2, 5, 64}) {
      for (const std::size_t chunksize : {0, 1, 3}) {
        INFO("buffersize " << buffersize << ", chunksize " << chunksize);
        int pulled = 0;
        auto stream = pool.map({.chunksize = chunksize, .buffersize = buffersize}, square, Counting(pulled));
        CHECK(pulled >= 1);
        CHECK(pulled <= static_cast<int>(buffersize));
        int most_ahead = 0;
        for (int i = 0; i < 200; ++i) {
          const std::optional<int> value = co_await stream.next();
          if (value != i * i) FAIL("a wrong value");
          most_ahead = std::max(most_ahead, pulled - (i + 1));
        }
        CHECK(most_ahead <= static_cast<int>(buffersize));
      }
    }
  });
}

TEST_CASE("the buffer is filled while nobody takes results") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    int pulled = 0;
    auto stream = pool.map(
        {.buffersize = 10}, [](int x) { return ++Shared::at(0), x; }, Counting(pulled));
    const bool filled = co_await until([&] { return shared[0] == 10; });
    CHECK(filled);
    co_await cofork::sleep(10ms);
    CHECK(shared[0] == 10);
    CHECK(pulled == 10);
  });
}

TEST_CASE("an infinite range is mapped as far as it is taken, with the default buffer too") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto stream = pool.map(square, std::views::iota(0));
    for (int i = 0; i < 1000; ++i) {
      const std::optional<int> value = co_await stream.next();
      if (value != i * i) FAIL("a wrong value");
    }
    stream.close();
    const std::optional<int> closed = co_await stream.next();
    CHECK_FALSE(closed);
    const int next = co_await pool.submit(square, 5);
    CHECK(next == 25);
  });
}

TEST_CASE("an item's error comes in its place and the stream goes on") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const std::size_t chunksize : {0, 1, 2, 7, 1000}) {
      INFO("chunksize " << chunksize);
      const std::vector<std::string> all =
          co_await outcomes(pool.map({.chunksize = chunksize}, odd_only, std::views::iota(0, 50)));
      REQUIRE(all.size() == 50);
      bool right = true;
      for (int i = 0; i < 50; ++i)
        right &= all[static_cast<std::size_t>(i)] == (i % 2 == 0 ? "error " : "") + std::to_string(i);
      CHECK(right);
    }
    auto stream = pool.map(odd_only, std::views::iota(1));
    bool failed = false;
    try {
      co_await std::move(stream);
    } catch (const std::invalid_argument& error) {
      failed = std::string(error.what()) == "2";
    }
    CHECK(failed);
  });
}

TEST_CASE("an input range that throws ends the map with its error in its place") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    for (const bool ordered : {true, false}) {
      int pulled = 0;
      const std::vector<std::string> all =
          co_await outcomes(pool.map({.ordered = ordered}, square, Counting(pulled, 100, 6)));
      REQUIRE(all.size() == 6);
      CHECK(std::count(all.begin(), all.end(), "error the input failed") == 1);
      if (ordered) CHECK(all.back() == "error the input failed");
    }
    const auto broken = std::views::iota(0, 3) | std::views::transform([](int x) {
                          if (x == 0) throw std::domain_error("at once");
                          return x;
                        });
    const std::vector<std::string> first = co_await outcomes(pool.map(square, broken));
    CHECK(first == std::vector<std::string>{"error at once"});
  });
}

TEST_CASE("dropping or closing a map stops its work and leaves the pool to others") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 5ms});
    { auto dropped = pool.map(never_end, std::vector<int>(10, 0)); }
    const int first = co_await pool.submit(square, 2);
    CHECK(first == 4);
    auto stream = pool.map(never_end, std::vector<int>(10, 1));
    const bool started = co_await until([&] { return shared[1] == 2; });
    REQUIRE(started);
    stream.close();
    stream.close();
    const int second = co_await pool.submit(square, 3);
    CHECK(second == 9);
    CHECK(shared[1] == 2);
    auto half = pool.map(square, std::views::iota(0, 100'000));
    for (int i = 0; i < 100; ++i) co_await half.next();
    half.close();
    const std::vector<int> whole = co_await pool.map(square, std::views::iota(0, 100));
    CHECK(whole.size() == 100);
  });
}

TEST_CASE("two maps and submissions share a pool") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2), other(1);
    const auto collect = [](ProcessPoolExecutor& p, int from) -> Task<long> {
      long sum = 0;
      auto stream = p.map(square, std::views::iota(from, from + 2000));
      while (std::optional<int> value = co_await stream.next()) sum += *value;
      co_return sum;
    };
    auto first = cofork::spawn(collect(pool, 0));
    auto second = cofork::spawn(collect(pool, 2000));
    auto third = cofork::spawn(collect(other, 0));
    const int single = co_await pool.submit(square, 9);
    CHECK(single == 81);
    long expected = 0;
    for (long i = 0; i < 2000; ++i) expected += i * i;
    const long a = co_await first;
    const long c = co_await third;
    CHECK(a == expected);
    CHECK(c == expected);
    for (long i = 2000; i < 4000; ++i) expected += i * i;
    const long b = co_await second;
    CHECK(a + b == expected);
  });
}

TEST_CASE("the items of a map that is closed count as cancelled unless they were executed") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    {
      auto stream = pool.map({.chunksize = 8}, square, std::views::iota(0));
      for (int i = 0; i < 20; ++i) co_await stream.next();
    }
    co_await pool.shutdown();
    const cofork::PoolStats stats = pool.stats();
    CHECK(stats.completed >= 20);
    CHECK(stats.failed == 0);
    CHECK(stats.submitted == stats.completed + stats.cancelled);
  });
}
