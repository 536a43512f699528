// What is special to threads: captures, any types, names, reuse, deadlines that leave the thread alone.
#include <pthread.h>

#include <atomic>
#include <cofork/executors/thread_pool_executor.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/spawn.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <ranges>
#include <set>
#include <thread>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::Task;
using cofork::ThreadPoolExecutor;
using cofork::ThreadPoolOptions;

namespace {

// Opens for the threads that wait at it, and at its end in any case.
class Gate {
 public:
  ~Gate() { open(); }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

std::string thread_name() {
  char name[16] = "";
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return name;
}

struct MoveOnly {
  explicit MoveOnly(int x) : value(std::make_unique<int>(x)) {}
  std::unique_ptr<int> value;
};

}  // namespace

TEST_CASE("a thread pool runs any callable on any types", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(2);
    int shared = 1;
    const std::thread::id here = std::this_thread::get_id();
    auto elsewhere = co_await pool.submit([&shared] {
      shared = 2;
      return std::this_thread::get_id();
    });
    CHECK(elsewhere != here);
    CHECK(shared == 2);
    Future<MoveOnly> moved = pool.submit([](MoveOnly a, std::unique_ptr<int> b) { return MoveOnly(*a.value + *b); },
                                         MoveOnly(2), std::make_unique<int>(3));
    const MoveOnly sum = co_await std::move(moved);
    CHECK(*sum.value == 5);
    struct Counter {
      int add(int n) { return total += n; }
      int total = 0;
    } counter;
    const int total = co_await pool.submit(&Counter::add, &counter, 7);
    CHECK(total == 7);
    auto owner = std::make_unique<int>(9);
    auto owning = pool.submit([owner = std::move(owner)] { return *owner; });
    const int owned = co_await owning;
    CHECK(owned == 9);
    co_await pool.submit([](int& x) { x = 11; }, std::ref(shared));
    CHECK(shared == 11);
    struct Odd : std::exception {};
    Future<void> failed = pool.submit([] { throw Odd(); });
    CHECK_THROWS_AS(co_await failed, Odd);
  });
}

TEST_CASE("a thread pool has as many threads as work needs at once", "[threads]") {
  cofork::run([]() -> Task<> {
    Gate gate;
    ThreadPoolExecutor pool(4);
    CHECK(pool.max_workers() == 4);
    CHECK(pool.stats().workers == 0);
    for (int i = 0; i < 5; ++i) co_await pool.submit([] {});
    // An idle one is used again.
    const bool idle = co_await until([&] { return pool.stats().running == 0; });
    CHECK(idle);
    CHECK(pool.stats().workers == 1);
    std::vector<Future<void>> futures;
    for (int i = 0; i < 10; ++i) futures.push_back(pool.submit([&] { gate.pass(); }));
    const bool saturated = co_await until([&] { return pool.stats().running == 4; });
    CHECK(saturated);
    CHECK(pool.stats().workers == 4);
    CHECK(pool.stats().pending == 6);
    gate.open();
    co_await cofork::gather(std::move(futures));
    CHECK(pool.stats().workers_started == 4);
    co_await pool.shutdown();
    CHECK(pool.stats().workers == 0);
    CHECK(pool.stats().completed == 15);
  });
}

TEST_CASE("a thread pool has a few more threads than processors by default", "[threads]") {
  ThreadPoolExecutor pool;
  CHECK(pool.max_workers() == std::min(32u, cofork::available_parallelism() + 4));
  CHECK_THROWS_AS(ThreadPoolExecutor(0u), std::invalid_argument);
  ThreadPoolExecutor chosen(ThreadPoolOptions{.max_workers = 3});
  CHECK(chosen.max_workers() == 3);
}

TEST_CASE("the threads of a pool have names", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor unnamed(1);
    const std::string standard = co_await unnamed.submit(thread_name);
    CHECK(standard == "thread-pool_0");
    ThreadPoolExecutor named({.max_workers = 1, .thread_name_prefix = "a name that is too long"});
    const std::string name = co_await named.submit(thread_name);
    CHECK(name == "a name that i_0");
  });
}

TEST_CASE("a thread pool starts calls by priority and then submission", "[threads]") {
  cofork::run([]() -> Task<> {
    Gate gate;
    std::vector<int> order;
    ThreadPoolExecutor pool(1);
    Future<void> first = pool.submit([&] { gate.pass(); });
    std::vector<Future<void>> futures;
    for (const int i : {1, 2, 3}) futures.push_back(pool.submit([&order, i] { order.push_back(i); }));
    for (const int i : {4, 5}) futures.push_back(pool.submit({.priority = 1}, [&order, i] { order.push_back(i); }));
    futures.push_back(pool.submit({.priority = -1}, [&order] { order.push_back(6); }));
    futures.push_back(pool.submit([&order] { order.push_back(7); }));
    gate.open();
    co_await cofork::gather(std::move(futures));
    CHECK(order == std::vector<int>{4, 5, 1, 2, 3, 7, 6});
  });
}

TEST_CASE("a call that exceeds its timeout keeps its thread and nothing else", "[threads]") {
  cofork::run([]() -> Task<> {
    Gate gate;
    ThreadPoolExecutor pool(1);
    std::atomic<bool> returned = false;
    Future<int> late = pool.submit({.timeout = 10ms, .name = "slow"}, [&] {
      gate.pass();
      returned = true;
      return 1;
    });
    Future<int> next = pool.submit({.timeout = 45s}, square, 3);  // its time does not run while it is pending
    std::string error;
    try {
      co_await late;
    } catch (const cofork::TimeoutError& timeout) {
      error = timeout.what();
    }
    CHECK(error == "slow exceeded its timeout of 0.01 s");
    CHECK(late.done());
    CHECK_FALSE(late.running());
    CHECK_FALSE(next.running());
    CHECK(pool.stats().running == 1);
    gate.open();
    const int value = co_await next;
    CHECK(value == 9);
    CHECK(returned);
    CHECK(pool.stats().failed == 1);
    CHECK(pool.stats().completed == 1);
  });
}

TEST_CASE("a thread has no limits of its own", "[threads]") {
  cofork::run([]() -> Task<> {
    ThreadPoolExecutor pool(1);
    CHECK_THROWS_AS(pool.submit({.memory_limit = 1 << 20}, square, 1), std::invalid_argument);
    CHECK_THROWS_AS(pool.submit({.cpu_limit = 1s}, square, 1), std::invalid_argument);
    const int same = co_await pool.submit({.grace = 1s, .retries = 2}, square, 2);
    CHECK(same == 4);
  });
}

TEST_CASE("cancelling the awaiter of an executing call waits for its end", "[threads]") {
  cofork::run([]() -> Task<> {
    Gate gate;
    ThreadPoolExecutor pool(1);
    int value = 0;
    Future<int> call = pool.submit([&] {
      gate.pass();
      return 7;
    });
    bool awaited = false;
    const auto await_call = [&]() -> Task<> {
      awaited = true;
      value = co_await call;
    };
    Future<void> awaiter = cofork::spawn(await_call());
    const bool begun = co_await until([&] { return awaited && call.running(); });
    CHECK(begun);
    awaiter.cancel();
    co_await cofork::yield_now();
    CHECK_FALSE(awaiter.done());
    gate.open();
    co_await awaiter;
    CHECK(value == 7);
  });
}

TEST_CASE("a coroutine in a thread can be killed and a function cannot", "[threads]") {
  cofork::run([]() -> Task<> {
    Gate gate;
    ThreadPoolExecutor pool(2);
    Future<void> function = pool.submit([&] { gate.pass(); });
    std::atomic<bool> cleaned = false;
    Future<int> coroutine = pool.submit([&]() -> Task<int> {
      struct Cleaner {
        std::atomic<bool>& flag;
        ~Cleaner() { flag = true; }
      } const cleaner{cleaned};
      co_await cofork::sleep(1h);
      co_return 1;
    });
    const bool begun = co_await until([&] { return function.running() && coroutine.running(); });
    CHECK(begun);
    CHECK_FALSE(function.kill());
    CHECK_FALSE(coroutine.cancel());
    CHECK(coroutine.kill());
    CHECK_THROWS_AS(co_await coroutine, cofork::CancelledError);
    CHECK(coroutine.cancelled());
    CHECK(cleaned);
    CHECK_FALSE(coroutine.kill());
    gate.open();
    co_await function;
  });
}

TEST_CASE("a thread pool that is destroyed cancels what is pending and waits for the rest", "[threads]") {
  cofork::run([]() -> Task<> {
    std::optional<ThreadPoolExecutor> pool(std::in_place, 1u);
    std::atomic<int> finished = 0;
    std::atomic<bool> begun = false;
    Future<void> running = pool->submit([&] {
      begun = true;
      pause_for(20ms);
      ++finished;
    });
    Future<void> pending = pool->submit([&] { ++finished; });
    cofork::Stream<int> mapped = pool->map(square, std::views::iota(0));
    const bool executing = co_await until([&] { return begun.load(); });
    CHECK(executing);
    pool.reset();
    CHECK(finished == 1);
    CHECK(running.done());
    CHECK(running.exception() == nullptr);
    CHECK(pending.cancelled());
    CHECK_THROWS_AS(co_await mapped.next(), cofork::CancelledError);
  });
}

TEST_CASE("the end of the loop ends the coroutines in a pool's threads", "[threads]") {
  std::unique_ptr<ThreadPoolExecutor> pool;
  cofork::run([&]() -> Task<> {
    pool = std::make_unique<ThreadPoolExecutor>(2);
    std::atomic<bool> begun = false;
    Future<void> forever = pool->submit([&]() -> Task<> {
      begun = true;
      co_await cofork::sleep(1h);
    });
    const bool executing = co_await until([&] { return begun.load(); });
    CHECK(executing);
  });
  CHECK(pool->stats().workers == 0);
}

TEST_CASE("a pool belongs to the loop that used it first", "[threads]") {
  std::unique_ptr<ThreadPoolExecutor> pool = std::make_unique<ThreadPoolExecutor>(1);
  CHECK_THROWS_AS(pool->submit(square, 1), std::logic_error);
  cofork::run([&]() -> Task<> {
    const int four = co_await pool->submit(square, 2);
    CHECK(four == 4);
  });
  cofork::run([&]() -> Task<> {
    CHECK_THROWS_AS(pool->submit(square, 1), cofork::InvalidStateError);
    co_return;
  });
}

TEST_CASE("a done callback may submit to its thread pool or destroy it", "[threads]") {
  cofork::run([]() -> Task<> {
    auto pool = std::make_unique<ThreadPoolExecutor>(2);
    std::vector<Future<int>> more;
    int ended = 0;
    std::vector<Future<int>> first;
    for (int i = 0; i < 5; ++i) {
      first.push_back(pool->submit(square, i));
      first.back().add_done_callback([&](Future<int>&) {
        ++ended;
        if (pool) more.push_back(pool->submit(square, 3));
        if (ended == 3) pool.reset();
      });
    }
    const bool all = co_await until([&] { return ended == 5; });
    CHECK(all);
    bool all_done = true;
    for (auto& future : more) all_done &= future.done();
    CHECK(all_done);
  });
}

TEST_CASE("many calls from many loops go through many thread pools", "[threads]") {
  std::vector<std::thread> threads;
  std::atomic<int> sum = 0;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      cofork::run([&]() -> Task<> {
        ThreadPoolExecutor pool(3);
        auto ones = pool.map(
            {.ordered = false}, [](int) { return 1; }, std::views::iota(0, 2000));
        while (auto one = co_await ones.next()) sum += *one;
        std::vector<Future<int>> futures;
        for (int i = 0; i < 300; ++i) {
          futures.push_back(pool.submit([](int x) { return x % 3; }, i));
          if (i % 7 == 0) futures.back().cancel();
        }
        for (auto& future : futures) {
          try {
            sum += (co_await future) * 0;
          } catch (const cofork::CancelledError&) {
          }
        }
      });
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(sum == 6000);
}
