#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <typeinfo>
#include <vector>

#include <cofork/executors/fork_executor.hpp>
#include <cofork/runtime/gather.hpp>

#include "executors/pool_harness.hpp"
#include "support/stop.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

// Takes memory, and uses it.
std::size_t take(std::size_t bytes) {
  std::vector<char> memory(bytes, 'x');
  return static_cast<std::size_t>(memory[bytes / 2] == 'x') * bytes;
}

std::size_t take_with_mmap(std::size_t bytes) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char*>(memory) = 1;  // MAP_FAILED is no address
  return bytes;
}

[[noreturn]] int spin_for_ever() {
  for (std::atomic<unsigned> turns = 0;;) ++turns;
}

[[noreturn]] int spin_whatever_comes() {
  std::signal(SIGXCPU, SIG_IGN);
  spin_for_ever();
}

std::vector<char> leaked;
pid_t leak(std::size_t bytes) {
  leaked.resize(leaked.size() + bytes, 'x');
  return ::getpid();
}

pid_t use_and_free(std::size_t bytes) {
  take(bytes);
  return ::getpid();
}

/// Takes all the memory that there is, in pieces, and keeps it.
cofork::Stream<int> use_up_after(int value) {
  struct Piece {
    Piece* next;
    char rest[500];
  };
  static Piece* kept = nullptr;
  co_yield std::move(value);
  for (;;) kept = new Piece{kept, {}};
}

int exitcode_of(Future<int>& future, std::string& what) {
  try {
    future.result();
  } catch (const cofork::WorkerDied& died) {
    what = died.what();
    return died.exitcode();
  } catch (const std::exception& error) {
    what = error.what();
  }
  return 1000;
}

// The bytes that RLIMIT_DATA leaves, or 0 if it has no limit.
std::size_t own_memory_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? 0 : static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace

TEST_CASE("a task over its memory limit gets bad_alloc, and its neighbours do not notice") {
  if (support::address_sanitizer || support::thread_sanitizer) return;  // they take memory as they like
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    Future<std::size_t> over = pool.submit({.memory_limit = 64 * mebibyte}, take, 256 * mebibyte);
    Future<std::size_t> neighbour = pool.submit(take, 256 * mebibyte);
    Future<std::size_t> within = pool.submit({.memory_limit = 64 * mebibyte}, take, 16 * mebibyte);
    CHECK_THROWS_AS(co_await over, std::bad_alloc);
    const std::size_t taken = co_await neighbour;
    CHECK(taken == 256 * mebibyte);
    const std::size_t little = co_await within;
    CHECK(little == 16 * mebibyte);
    CHECK(pool.stats().workers_died == 0);
  });
}

template <class Executor>
Task<std::string> end_without_memory(Executor& executor) {
  const cofork::SubmitOptions options{.memory_limit = 32 * mebibyte};
  auto stream = executor.submit(options, use_up_after, 7);
  const std::optional<int> first = co_await stream.next();
  CHECK(first == 7);
  try {
    co_await stream.next();
  } catch (const std::exception& error) {
    co_return typeid(error).name();
  }
  co_return "";
}

TEST_CASE("a task that keeps all its memory can still tell that there is no more") {
  if (support::address_sanitizer || support::thread_sanitizer) return;  // they end the process
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const std::string in_pool = co_await end_without_memory(pool);
    CHECK(in_pool == typeid(std::bad_alloc).name());
    cofork::ForkExecutor forks(1);
    const std::string in_fork = co_await end_without_memory(forks);
    CHECK(in_fork == typeid(std::bad_alloc).name());
  });
}

TEST_CASE("a task that does not look at what mmap gave dies of its memory limit") {
  if (support::address_sanitizer || support::thread_sanitizer) return;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto future = pool.submit({.memory_limit = 64 * mebibyte}, take_with_mmap, 256 * mebibyte);
    const bool ended = co_await until([&] { return future.done(); });
    CHECK(ended);
    const std::string what = error_of<cofork::WorkerDied>(future);
    INFO(what);
    CHECK(what.find("SIGSEGV") != std::string::npos);
    CHECK(what.find("with a memory_limit of 67108864 bytes") != std::string::npos);
  });
}

TEST_CASE("a task over its CPU limit dies of SIGXCPU, which the error explains", "[limit:180]") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto future = pool.submit({.name = "spinning", .cpu_limit = 1s}, spin_for_ever);
    auto neighbour = pool.submit(square, 3);
    const int nine = co_await neighbour;
    CHECK(nine == 9);
    const bool ended = co_await until([&] { return future.done(); }, 120s);
    CHECK(ended);
    std::string what;
    CHECK(exitcode_of(future, what) == -SIGXCPU);
    INFO(what);
    CHECK(what.find("spinning: its cpu_limit of 1 s was used up") != std::string::npos);
  });
}

TEST_CASE("a task that ignores SIGXCPU is killed a second later", "[limit:180]") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto future = pool.submit({.cpu_limit = 1s}, spin_whatever_comes);
    const bool ended = co_await until([&] { return future.done(); }, 120s);
    CHECK(ended);
    std::string what;
    CHECK(exitcode_of(future, what) == -SIGKILL);
    INFO(what);
    CHECK(what.find("its cpu_limit of 1 s was used up") != std::string::npos);
  });
}

TEST_CASE("a limited task has a worker of its own, which runs nothing before and nothing after it") {
  for (const unsigned workers : {1u, 3u}) {
    cofork::run([&]() -> Task<> {
      ProcessPoolExecutor pool(workers);
      std::vector<Future<pid_t>> limited, others;
      for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 3; ++j) others.push_back(pool.submit(own_pid));
        limited.push_back(pool.submit({.cpu_limit = 60s}, own_pid));
      }
      const std::vector<pid_t> shared = co_await cofork::gather(std::move(others));
      std::vector<pid_t> own = co_await cofork::gather(std::move(limited));
      for (const pid_t pid : own) CHECK(std::count(shared.begin(), shared.end(), pid) == 0);
      std::sort(own.begin(), own.end());
      CHECK(std::unique(own.begin(), own.end()) == own.end());
      CHECK(pool.stats().workers_died == 0);
      CHECK(pool.stats().completed == 32);
    });
  }
}

TEST_CASE("a limited task is not sent to a fresh worker that is full of what was cancelled") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto size_of = [](const std::string& text) { return text.size(); };
    const pid_t server = co_await pool.submit({.cpu_limit = 60s}, [] { return ::getppid(); });
    // The next worker is not there before it has been sent all of this.
    support::stop(server);
    bool all_cancelled = true;
    for (int i = 0; i < 1100; ++i) all_cancelled &= pool.submit(size_of, std::string(200, 'x')).cancel();
    CHECK(all_cancelled);
    auto limited = pool.submit({.cpu_limit = 60s}, size_of, std::string(20'000, 'y'));
    ::kill(server, SIGCONT);
    const bool done = co_await until([&] { return limited.done(); });
    REQUIRE(done);
    const std::size_t size = limited.result();
    CHECK(size == 20'000);
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("no limit of a task reaches another") {
  if (support::address_sanitizer || support::thread_sanitizer) return;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const std::size_t limited = co_await pool.submit({.memory_limit = mebibyte}, own_memory_limit);
    CHECK(limited != 0);
    const std::size_t free = co_await pool.submit(own_memory_limit);
    CHECK(free == own_memory_limit());
  });
}

TEST_CASE("there are never more tasks at work than max_workers, limited ones included") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 12; ++i) {
      const auto task = +[] {
        const int now = ++Shared::at(0);
        for (int most = Shared::at(1); now > most && !Shared::at(1).compare_exchange_weak(most, now);) {
        }
        pause_for(2ms);
        --Shared::at(0);
        return 1;
      };
      futures.push_back(i % 2 ? pool.submit({.memory_limit = 4096 * mebibyte}, task) : pool.submit(task));
    }
    co_await cofork::gather(std::move(futures));
  });
  CHECK(shared[1] <= 2);
}

TEST_CASE("limited tasks begin in their turn, by priority and then submission") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto gate = pool.submit(wait_at_gate, 0, 1);
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    const auto next = +[] { return static_cast<int>(++Shared::at(2)); };
    auto third = pool.submit({.cpu_limit = 60s}, next);
    auto fourth = pool.submit(next);
    auto first = pool.submit({.cpu_limit = 60s, .priority = 1}, next);
    auto second = pool.submit({.priority = 1}, next);
    shared[1] = 1;
    co_await gate;
    const int a = co_await first, b = co_await second, c = co_await third, d = co_await fourth;
    CHECK(std::vector{a, b, c, d} == std::vector{1, 2, 3, 4});
  });
}

TEST_CASE("a limited task can be cancelled while it waits, and killed while it runs") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto running = pool.submit({.cpu_limit = 60s}, never_end, 0);
    auto waiting = pool.submit({.cpu_limit = 60s}, square, 2);
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    CHECK(running.running());
    CHECK_FALSE(running.cancel());
    CHECK(waiting.cancel());
    CHECK(running.kill());
    CHECK_THROWS_AS(co_await running, cofork::CancelledError);
    const int four = co_await pool.submit({.cpu_limit = 60s}, square, 2);
    CHECK(four == 4);
  });
}

TEST_CASE("a limited task has timeouts and retries, with its limits each time") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto late = pool.submit({.timeout = 50ms, .grace = 10ms, .cpu_limit = 60s}, never_end, 0);
    auto again = pool.submit(
        {.retries = 2, .cpu_limit = 60s}, +[] {
          rlimit limit{};
          ::getrlimit(RLIMIT_CPU, &limit);
          if (++Shared::at(1) < 3) ::raise(SIGKILL);
          return static_cast<int>(limit.rlim_cur);
        });
    CHECK_THROWS_AS(co_await late, cofork::TimeoutError);
    const int seconds = co_await again;
    CHECK(seconds == 60);
    CHECK(shared[1] == 3);
  });
}

TEST_CASE("the initializer of a limited task's worker is not limited") {
  const Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(
        {.max_workers = 1},
        +[](int) {
          rlimit limit{};
          ::getrlimit(RLIMIT_CPU, &limit);
          if (limit.rlim_cur == RLIM_INFINITY) ++Shared::at(0);
        },
        0);
    co_await pool.submit(square, 1);
    co_await pool.submit({.cpu_limit = 60s}, square, 1);
    co_await pool.submit({.cpu_limit = 60s}, square, 1);
  });
  CHECK(shared[0] == 3);
}

TEST_CASE("limited tasks take arguments of every kind") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const std::vector<double> numbers(100'000, 0.5);
    const auto sum = +[](std::span<const double> values, std::string_view text) {
      double total = static_cast<double>(text.size());
      for (const double value : values) total += value;
      return total;
    };
    const double total = co_await pool.submit({.cpu_limit = 60s}, sum, numbers, "four");
    CHECK(total == 50'004);
  });
}

TEST_CASE("negative CPU limits are refused") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    CHECK_THROWS_AS(pool.submit({.cpu_limit = -1s}, square, 1), std::invalid_argument);
    co_return;
  });
}

TEST_CASE("a pool that is shut down finishes its limited tasks") {
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 5; ++i) futures.push_back(pool.submit({.cpu_limit = 60s}, square, i));
    co_await pool.shutdown();
    for (int i = 0; i < 5; ++i) CHECK(futures[static_cast<std::size_t>(i)].result() == i * i);
  });
}

TEST_CASE("a worker that has grown too large is replaced, and nothing is lost") {
  if (support::address_sanitizer || support::thread_sanitizer) return;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .max_rss_per_child = 32 * mebibyte});
    const pid_t first = co_await pool.submit(leak, 8 * mebibyte);
    const pid_t second = co_await pool.submit(leak, 64 * mebibyte);
    const pid_t third = co_await pool.submit(own_pid);
    CHECK(first == second);
    CHECK(second != third);
    const std::vector<pid_t> pids = co_await pool.map(leak, std::vector<std::size_t>(40, 4 * mebibyte));
    CHECK(pids.size() == 40);
    CHECK(pool.stats().workers_started >= 5);
    CHECK(pool.stats().workers_died == 0);
    CHECK(pool.stats().completed == 43);
  });
}

TEST_CASE("memory that a task freed, or that workers share with their template, does not make them too large") {
  if (support::address_sanitizer || support::thread_sanitizer) return;
  const std::vector<char> inherited(128 * mebibyte, 'x');
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .max_rss_per_child = 32 * mebibyte});
    const pid_t first = co_await pool.submit(own_pid);
    const pid_t second = co_await pool.submit(use_and_free, 96 * mebibyte);
    co_await cofork::sleep(2ms);
    const pid_t third = co_await pool.submit(own_pid);
    CHECK(first == second);
    CHECK(second == third);
  });
}
