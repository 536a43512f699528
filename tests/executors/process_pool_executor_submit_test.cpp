#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait.hpp>
#include <numeric>
#include <optional>
#include <vector>

#include "executors/pool_harness.hpp"
#include "support/stop.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

int add(int a, int b) { return a + b; }
void nothing() {}
std::string shout(std::string text) { return text + "!"; }
Task<int> later(int x) {
  co_await cofork::sleep(1ms);
  co_return x + 1;
}
int count_calls() {
  static int calls = 0;
  return ++calls;
}
int note_turn(int label) {
  const int turn = ++Shared::at(0);
  Shared::at(static_cast<std::size_t>(turn)) = label;
  return label;
}

struct Unwilling {
  int value = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    if (value < 0) throw std::runtime_error("not this one");
    archive(value);
  }
};

}  // namespace

TEST_CASE("a pool gives the results of functions, lambdas and coroutines") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const int sum = co_await pool.submit(add, 2, 3);
    CHECK(sum == 5);
    co_await pool.submit(nothing);
    const std::string text = co_await pool.submit(shout, "hey");
    CHECK(text == "hey!");
    const int next = co_await pool.submit(later, 41);
    CHECK(next == 42);
    const double half = co_await pool.submit([](double x) { return x / 2; }, 3);
    CHECK(half == 1.5);
    const auto generic = co_await pool.submit([](auto a, auto b) { return a + b; }, 1, 2.5);
    CHECK(generic == 3.5);
    auto future = pool.submit(add, 1, 1);
    const int first = co_await future;
    const int again = co_await future;
    CHECK(first + again == 4);
    CHECK(future.result() == 2);
    CHECK(future.done());
    CHECK_FALSE(future.cancel());
    CHECK_FALSE(future.kill());
  });
}

TEST_CASE("a worker keeps its state from task to task and is not this process") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    for (int call = 1; call <= 5; ++call) {
      const int count = co_await pool.submit(count_calls);
      CHECK(count == call);
    }
    const pid_t pid = co_await pool.submit(own_pid);
    CHECK(pid != ::getpid());
    const std::vector<pid_t> pids = co_await workers_of(pool, 1);
    CHECK(pids == std::vector<pid_t>{pid});
    CHECK(pool.stats().workers == 1);
    CHECK(pool.stats().completed == 6);
  });
}

TEST_CASE("of ten tasks on two workers exactly two run and the others can be cancelled") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 10; ++i) futures.push_back(pool.submit(wait_at_gate, 1, 0));
    const auto running = [&] {
      return std::count_if(futures.begin(), futures.end(), [](const auto& future) { return future.running(); });
    };
    const bool started = co_await until([&] { return shared[1] == 2; });
    REQUIRE(started);
    CHECK(running() == 2);
    CHECK(pool.stats().running == 2);
    CHECK(pool.stats().pending == 8);
    co_await cofork::sleep(20ms);
    CHECK(running() == 2);
    CHECK(shared[1] == 2);
    CHECK_FALSE(futures[0].cancel());
    CHECK_FALSE(futures[1].cancel());
    for (std::size_t i = 2; i < 10; ++i) {
      CHECK_FALSE(futures[i].running());
      CHECK_FALSE(futures[i].done());
      CHECK(futures[i].cancel());
      CHECK(futures[i].cancelled());
      CHECK(futures[i].done());
      CHECK(futures[i].cancel());
      CHECK_FALSE(futures[i].kill());
    }
    shared[0] = 1;
    const int first = co_await futures[0];
    const int second = co_await futures[1];
    CHECK(first + second == 2);
    CHECK_THROWS_AS(futures[2].result(), cofork::CancelledError);
    const int after = co_await pool.submit(square, 3);
    CHECK(after == 9);
    CHECK(shared[1] == 2);
    CHECK(pool.stats().cancelled == 8);
  });
}

TEST_CASE("a known fast function that is slow for once keeps nobody waiting behind it") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto pass = [](int gate) {
      ++Shared::at(1);
      pass_gate(static_cast<std::size_t>(gate));
      return gate;
    };
    shared[2] = 1;  // an open gate: the function becomes known as fast
    for (int i = 0; i < 50; ++i) co_await pool.submit(pass, 2);
    auto slow = pool.submit(pass, 0);
    // Sent at the same time: some of them behind it.
    std::vector<Future<int>> quick;
    for (int i = 0; i < 20; ++i) quick.push_back(pool.submit(pass, 2));
    for (auto& future : quick) co_await future;
    CHECK_FALSE(slow.done());
    const bool runs = co_await until([&] { return slow.running(); });
    CHECK(runs);
    shared[0] = 1;
    co_await slow;
    CHECK(shared[1] == 71);
  });
}

TEST_CASE("also a worker that was long in starting keeps nobody waiting behind a task that is slow for once") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto fast = [](int counter, int gate) { return gate == 0 ? counter : wait_at_gate(counter, gate); };
    const auto slower = [](int counter, int gate) {
      pause_for(1ms);
      return gate == 0 ? counter : wait_at_gate(counter, gate);
    };
    for (int i = 0; i < 10; ++i) {
      co_await pool.submit(slower, 0, 0);
      co_await pool.submit(fast, 0, 0);
    }
    const pid_t server = co_await pool.submit([] { return ::getppid(); });
    support::stop(server);
    auto first = pool.submit(slower, 1, 2);
    auto second = pool.submit(fast, 3, 4);  // in a worker that is not there yet
    second.add_done_callback([](Future<int>&) {});
    auto behind = pool.submit(fast, 5, 0);
    co_await cofork::sleep(50ms);
    ::kill(server, SIGCONT);
    const bool at_work = co_await until([&] { return shared[1] == 1 && shared[3] == 1; });
    REQUIRE(at_work);
    shared[2] = 1;
    const int result = co_await first;
    CHECK(result == 1);
    const bool done = co_await until([&] { return behind.done(); });
    CHECK(done);
    shared[4] = 1;
    co_await second;
  });
}

TEST_CASE("what was sent ahead of its time to a worker can be cancelled there") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto pass = [](int gate) {
      ++Shared::at(1);
      pass_gate(static_cast<std::size_t>(gate));
    };
    shared[2] = 1;
    for (int i = 0; i < 50; ++i) co_await pool.submit(pass, 2);
    auto slow = pool.submit(pass, 0);
    auto behind = pool.submit(pass, 2);
    auto last = pool.submit(pass, 2);
    const bool started = co_await until([&] { return shared[1] == 51; });
    REQUIRE(started);
    CHECK(slow.running());
    CHECK_FALSE(behind.running());
    CHECK(behind.cancel());
    CHECK_FALSE(slow.cancel());
    shared[0] = 1;
    co_await last;
    CHECK(shared[1] == 52);
    CHECK(slow.done());
  });
}

TEST_CASE("one worker starts tasks in the order of submission and higher priorities first") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto gate = pool.submit(wait_at_gate, 60, 61);
    const bool started = co_await until([&] { return shared[60] == 1; });
    REQUIRE(started);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 4; ++i) futures.push_back(pool.submit({.priority = -1}, note_turn, 20 + i));
    for (int i = 0; i < 4; ++i) futures.push_back(pool.submit(note_turn, 10 + i));
    for (int i = 0; i < 4; ++i) futures.push_back(pool.submit({.priority = 7}, note_turn, i));
    shared[61] = 1;
    co_await cofork::gather(std::move(futures));
    std::vector<int> order;
    for (std::size_t i = 1; i <= 12; ++i) order.push_back(shared[i]);
    CHECK(order == std::vector<int>{0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23});
  });
}

TEST_CASE("a task of higher priority overtakes what was sent ahead to a worker") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto turn_or_gate = [](int label) { return label == 0 ? wait_at_gate(60, 61) : note_turn(label); };
    for (int i = 0; i < 50; ++i) co_await pool.submit(turn_or_gate, 63);
    shared[0] = 0;
    std::vector<Future<int>> futures;
    futures.push_back(pool.submit(turn_or_gate, 0));
    for (int i = 0; i < 3; ++i) futures.push_back(pool.submit({.priority = -3}, turn_or_gate, 30 + i));
    for (int i = 0; i < 3; ++i) futures.push_back(pool.submit(turn_or_gate, 20 + i));
    for (int i = 0; i < 3; ++i) futures.push_back(pool.submit({.priority = 2}, turn_or_gate, 10 + i));
    shared[61] = 1;
    co_await cofork::gather(std::move(futures));
    std::vector<int> order;
    for (std::size_t i = 1; i <= 9; ++i) order.push_back(shared[i]);
    CHECK(order == std::vector<int>{10, 11, 12, 20, 21, 22, 30, 31, 32});
  });
}

TEST_CASE("a task that a dead worker had not begun keeps its priority") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    for (int i = 0; i < 50; ++i) co_await pool.submit(square, i);
    // Known as fast: what comes next is sent ahead.
    const auto gate = [](int x) {
      if (x == 0) wait_at_gate(60, 61);
      return x;
    };
    for (int i = 0; i < 50; ++i) co_await pool.submit(gate, 1);
    auto first = pool.submit(gate, 0);
    auto low = pool.submit({.priority = -5}, note_turn, 2);
    auto high = pool.submit({.priority = 5}, note_turn, 1);
    const bool started = co_await until([&] { return shared[60] == 1; });
    REQUIRE(started);
    const std::vector<pid_t> pids = co_await workers_of(pool, 1);
    ::kill(pids[0], SIGKILL);
    co_await low;
    co_await high;
    CHECK(shared[1] == 1);
    CHECK(shared[2] == 2);
    CHECK(first.done());
  });
}

TEST_CASE("ten thousand submissions are gathered") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 10'000; ++i) futures.push_back(pool.submit(square, i));
    const std::vector<int> squares = co_await cofork::gather(std::move(futures));
    bool right = squares.size() == 10'000;
    for (int i = 0; right && i < 10'000; ++i) right = squares[static_cast<std::size_t>(i)] == i * i;
    CHECK(right);
    CHECK(pool.stats().completed == 10'000);
    CHECK(pool.stats().submitted == 10'000);
    CHECK(pool.stats().pending == 0);
  });
}

TEST_CASE("done callbacks may submit again and destroy the pool") {
  cofork::run([]() -> Task<> {
    std::optional<ProcessPoolExecutor> pool;
    pool.emplace(1u);
    std::vector<Future<int>> chain;
    int rounds = 0;
    std::function<void(Future<int>&)> again = [&](Future<int>& future) {
      CHECK(future.result() == 49);
      if (++rounds == 5) return pool.reset();
      chain.push_back(pool->submit(square, 7));
      chain.back().add_done_callback(again);
    };
    auto first = pool->submit(square, 7);
    first.add_done_callback(again);
    auto pending = pool->submit(later, 1);
    const bool ended = co_await until([&] { return rounds == 5; });
    CHECK(ended);
    CHECK(pending.done());
  });
}

TEST_CASE("an argument that cannot be encoded fails its future alone") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto value = [](Unwilling u) { return u.value; };
    // Sent at once, and from the queue.
    std::vector<Future<int>> futures;
    for (int i = 0; i < 6; ++i) futures.push_back(pool.submit(value, Unwilling{i % 2 == 0 ? i : -i}));
    for (std::size_t i = 0; i < 6; ++i) {
      co_await cofork::wait(futures);
      if (i % 2 == 0)
        CHECK(futures[i].result() == static_cast<int>(i));
      else
        CHECK(error_of<std::runtime_error>(futures[i]) == "not this one");
    }
    auto only = pool.submit(value, Unwilling{-1});
    const bool done = co_await until([&] { return only.done(); });
    REQUIRE(done);
    CHECK(error_of<std::runtime_error>(only) == "not this one");
  });
}
