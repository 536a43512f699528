#include <sys/resource.h>

#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/wait.hpp>
#include <csignal>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::BrokenProcessPool;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

int state = 0;
std::string label;

void set_state(int value, std::string text) {
  ++Shared::at(0);
  state = value;
  label = std::move(text);
}
int add_state(int x) { return x + state; }
std::string get_label() { return label; }

struct Unwilling {
  int value = 0;
  template <class Archive>
  void serialize(Archive&) {
    throw std::length_error("cannot be encoded");
  }
};

// What is nested in a BrokenProcessPool.
template <class E>
std::string first_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const BrokenProcessPool& broken) {
    try {
      std::rethrow_if_nested(broken);
    } catch (const E& first) {
      return first.what();
    } catch (const std::exception& other) {
      return std::string("another error: ") + other.what();
    }
    return "nothing nested";
  } catch (const std::exception& other) {
    return std::string("not broken: ") + other.what();
  }
}

template <class E, class F>
std::string first_error_of_call(F call) {
  try {
    call();
  } catch (const BrokenProcessPool&) {
    return first_error<E>(std::current_exception());
  }
  return "no error";
}

}  // namespace

TEST_CASE("the initializer runs in every worker before its first task and its state lasts") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2}, set_state, 40, std::string("a label"));
    auto gate = pool.submit(wait_at_gate, 1, 2);
    for (int i = 0; i < 20; ++i) {
      const int result = co_await pool.submit(add_state, i);
      CHECK(result == i + 40);
    }
    shared[2] = 1;
    co_await gate;
    const std::string text = co_await pool.submit(get_label);
    CHECK(text == "a label");
    CHECK(shared[0] == 2);
    const std::vector<pid_t> pids = co_await workers_of(pool, 2);
    for (const pid_t pid : pids) ::kill(pid, SIGKILL);
    for (const pid_t pid : pids) CHECK(support::eventually([&] { return !support::is_running(pid); }));
    const int again = co_await pool.submit(add_state, 1);
    CHECK(again == 41);
    CHECK(state == 0);
    CHECK(pool.stats().completed == 23);
  });
}

TEST_CASE("no task runs in a worker whose initializer has not run, however tasks are moved about") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    const auto slowly = [] {
      pause_for(3ms);
      state = 1;
    };
    for (int round = 0; round < 10; ++round) {
      ProcessPoolExecutor pool({.max_workers = 3}, slowly);
      for (int i = 0; i < 20; ++i) co_await pool.submit(add_state, 0);
      // Known as fast: these go to the worker that is there and to starting ones, and back.
      int wrong = 0;
      for (int i = 0; i < 20; ++i) {
        std::vector<Future<int>> futures;
        for (int n = 0; n < 4; ++n) futures.push_back(pool.submit(add_state, 0));
        const std::vector<int> results = co_await cofork::gather(std::move(futures));
        for (const int result : results) wrong += result != 1;
        if (i % 5 == 0) co_await cofork::sleep(1ms);
      }
      CHECK(wrong == 0);
    }
  });
}

TEST_CASE("an initializer that throws breaks the pool after a few tries with its error nested") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    const auto initializer = [] {
      ++Shared::at(0);
      throw std::out_of_range("the initializer's");
    };
    ProcessPoolExecutor pool({.max_workers = 2}, initializer);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 10; ++i) futures.push_back(pool.submit(square, i));
    auto stream = pool.map(square, std::vector<int>{1, 2, 3});
    co_await cofork::wait(futures);
    for (auto& future : futures) CHECK(first_error<std::out_of_range>(future.exception()) == "the initializer's");
    std::exception_ptr of_map;
    try {
      co_await stream.next();
    } catch (...) {
      of_map = std::current_exception();
    }
    REQUIRE(of_map);
    CHECK(first_error<std::out_of_range>(of_map) == "the initializer's");
    CHECK(first_error_of_call<std::out_of_range>([&] { (void)pool.submit(square, 1); }) == "the initializer's");
    CHECK_THROWS_AS(pool.map(square, std::vector<int>{1}), BrokenProcessPool);
    // A few were under way, and none follows.
    co_await cofork::sleep(60ms);
    CHECK(shared[0] >= 1);
    CHECK(shared[0] <= 10);
    co_await pool.shutdown();
    CHECK_THROWS_AS(pool.submit(square, 1), BrokenProcessPool);
  });
}

TEST_CASE("an initializer that kills its worker breaks the pool") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    for (const int status : {-1, 0, 3}) {
      const auto initializer = [](int exit_status) {
        if (exit_status < 0) ::raise(SIGSEGV);
        ::_exit(exit_status);
      };
      ::setenv("ASAN_OPTIONS", "handle_segv=0", 1);
      ProcessPoolExecutor pool({.max_workers = 1}, initializer, status);
      auto future = pool.submit(square, 2);
      const bool done = co_await until([&] { return future.done(); });
      REQUIRE(done);
      const std::string what = first_error<cofork::WorkerDied>(future.exception());
      CHECK(what.find("while it executed the pool's initializer") != std::string::npos);
      if (status >= 0) CHECK(what.find("exited with status " + std::to_string(status)) != std::string::npos);
    }
  });
}

TEST_CASE("a worker that fails to start now and then does not break the pool") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    const auto moody = [] {
      if (++Shared::at(0) % 3 != 0) throw std::runtime_error("not now");
    };
    ProcessPoolExecutor pool({.max_workers = 1, .max_tasks_per_child = 1}, moody);
    for (int i = 0; i < 4; ++i) {
      const int result = co_await pool.submit(square, i);
      CHECK(result == i * i);
    }
    CHECK(shared[0] == 12);
  });
}

TEST_CASE("an argument of the initializer that cannot be encoded breaks the pool") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(
        {.max_workers = 2}, [](Unwilling) {}, Unwilling{});
    auto future = pool.submit(square, 3);
    const bool done = co_await until([&] { return future.done(); });
    REQUIRE(done);
    CHECK(first_error<std::length_error>(future.exception()) == "cannot be encoded");
    CHECK(pool.worker_pids().empty());
  });
}

TEST_CASE("a pool that finds no free descriptor for a worker breaks with a clear error") {
  if (support::address_sanitizer) return;  // which needs descriptors, too
  const auto child = support::in_child([] {
    cofork::run([]() -> Task<> {
      ProcessPoolExecutor pool(2);
      co_await pool.submit(square, 1);
      const std::vector<pid_t> pids = co_await workers_of(pool, 1);
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      const rlim_t before = limit.rlim_cur;
      // The lowest that is free now is the limit.
      const int lowest = ::dup(0);
      ::close(lowest);
      limit.rlim_cur = static_cast<rlim_t>(lowest);
      ::setrlimit(RLIMIT_NOFILE, &limit);
      ::kill(pids[0], SIGKILL);
      co_await cofork::sleep(50ms);
      ProcessPoolExecutor starved(1);
      auto future = starved.submit(square, 2);
      const bool ended = co_await until([&] { return future.done(); });
      support::require(ended, "the future ends");
      const std::string what = first_error<std::system_error>(future.exception());
      support::require(what.find("Too many open files") != std::string::npos, what);
      limit.rlim_cur = before;
      ::setrlimit(RLIMIT_NOFILE, &limit);
      const int healed = co_await pool.submit(square, 3);
      support::require(healed == 9, "a pool that was not asked meanwhile is whole");
    });
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a pool for a short while without descriptors goes on when it has some") {
  if (support::address_sanitizer) return;  // which needs descriptors, too
  const auto child = support::in_child([] {
    cofork::run([]() -> Task<> {
      ProcessPoolExecutor pool(1);
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      const rlim_t before = limit.rlim_cur;
      const int lowest = ::dup(0);
      ::close(lowest);
      limit.rlim_cur = static_cast<rlim_t>(lowest + 2);
      ::setrlimit(RLIMIT_NOFILE, &limit);
      auto future = pool.submit(square, 2);
      support::require(!future.done(), "it waits");
      limit.rlim_cur = before;
      ::setrlimit(RLIMIT_NOFILE, &limit);
      const int result = co_await future;
      support::require(result == 4, "it ran");
    });
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("prestart starts all workers at once") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 3, .prestart = true});
    const bool started = co_await until([&] { return pool.worker_pids().size() == 3; });
    CHECK(started);
    const int result = co_await pool.submit(square, 3);
    CHECK(result == 9);
    CHECK(pool.stats().workers_started == 3);
  });
  CHECK_THROWS_AS(ProcessPoolExecutor({.prestart = true}), std::logic_error);
}
