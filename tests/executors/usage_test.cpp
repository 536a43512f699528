#include <sys/mman.h>

#include <cofork/executors/task_clock.hpp>
#include <cstring>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

std::chrono::nanoseconds processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// Uses so much processor time, whatever else the machine does.
int compute_for(int milliseconds) {
  const auto end = processor_time() + std::chrono::milliseconds(milliseconds);
  while (processor_time() < end) {
  }
  return milliseconds;
}

int touch(int mebibytes) {
  const std::size_t size = static_cast<std::size_t>(mebibytes) << 20;
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  std::memset(memory, 1, size);
  ::munmap(memory, size);
  return mebibytes;
}

}  // namespace

TEST_CASE("a future tells what its task used") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const pid_t pid = co_await pool.submit(own_pid);
    auto first = pool.submit(wait_at_gate, 0, 1);
    auto second = pool.submit(compute_for, 100);
    CHECK(!second.usage());
    const bool running = co_await until([&] { return shared[0] == 1; });
    REQUIRE(running);
    co_await cofork::sleep(50ms);
    CHECK(!first.usage());
    shared[1] = 1;
    co_await first;
    co_await second;
    const auto waited = first.usage();
    const auto computed = second.usage();
    REQUIRE(waited);
    REQUIRE(computed);
    CHECK(waited->pid == pid);
    CHECK(computed->pid == pid);
    CHECK(waited->wall >= 50ms);
    CHECK(waited->user + waited->system < waited->wall);
    CHECK(computed->queued >= 50ms);
    CHECK(computed->wall >= 99ms);
    CHECK(computed->user + computed->system >= 95ms);
    CHECK(computed->user + computed->system <= computed->wall + 10ms);
    auto hungry = pool.submit(touch, 256);
    co_await hungry;
    CHECK(hungry.usage()->max_rss >= std::size_t{256} << 20);
    CHECK(computed->max_rss < std::size_t{256} << 20);
  });
}

TEST_CASE("short tasks have a usage, and do not pay for others") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    co_await pool.submit(compute_for, 60);
    for (int i = 0; i < 1000; ++i) {
      auto future = pool.submit(square, i);
      co_await future;
      const auto usage = future.usage();
      REQUIRE(usage);
      if (usage->user + usage->system > usage->wall + 20ms) FAIL("it was given the time of another task");
      if (usage->max_rss == 0) FAIL("no memory");
    }
  });
}

TEST_CASE("a task that throws, is killed, times out or loses its worker has a usage too") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    co_await pool.submit(compute_for, 300);
    auto thrower = pool.submit(+[] {
      compute_for(20);
      throw std::runtime_error("no");
    });
    auto dying = pool.submit(+[] {
      compute_for(40);
      ::raise(SIGKILL);
    });
    auto late = pool.submit({.timeout = 60ms, .grace = 10ms}, compute_for, 100'000);
    auto killed = pool.submit(never_end, 0);
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    killed.kill();
    // Each in a worker of its own, and either may be the first to be gone.
    const bool ended = co_await until([&] { return killed.done() && late.done(); });
    REQUIRE(ended);
    REQUIRE(thrower.usage());
    CHECK(thrower.usage()->user + thrower.usage()->system >= 19ms);
    REQUIRE(dying.usage());
    CHECK(dying.usage()->user + dying.usage()->system >= 38ms);
    // Nothing of what the worker used before, which the time of its own execution would not explain.
    CHECK(dying.usage()->user + dying.usage()->system < dying.usage()->wall + 200ms);
    CHECK(dying.usage()->wall >= 38ms);
    REQUIRE(late.usage());
    CHECK(late.usage()->wall >= 59ms);
    REQUIRE(killed.usage());
    CHECK(killed.usage()->max_rss > 0);
    bool said = false;
    try {
      dying.result();
    } catch (const cofork::WorkerDied& died) {
      said = died.usage() && died.usage()->pid == died.pid() && died.usage()->user == dying.usage()->user;
    }
    CHECK(said);
  });
}

TEST_CASE("what no worker executed has no usage") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    auto spawned = cofork::spawn([]() -> Task<int> { co_return 1; }());
    co_await spawned;
    CHECK(!spawned.usage());
    ProcessPoolExecutor pool(1);
    auto busy = pool.submit(wait_at_gate, 0, 1);
    auto waiting = pool.submit(square, 1);
    const bool started = co_await until([&] { return shared[0] == 1; });
    REQUIRE(started);
    CHECK(waiting.cancel());
    CHECK(!waiting.usage());
    shared[1] = 1;
    co_await busy;
  });
}

TEST_CASE("the kernel is asked again when what is known is old") {
  cofork::detail::TaskClock clock;
  CHECK(clock.begin(1'000'000));
  CHECK(!clock.begin(1'010'000));
  const auto brief = clock.end(1'010'000, 1'015'000);
  CHECK(brief.wall == 5'000);
  CHECK(brief.user == 5'000);
  CHECK(brief.system == 0);
  CHECK(brief.max_rss > 0);
  compute_for(20);
  const auto longer = clock.end(1'015'000, 30'000'000);
  CHECK(longer.user + longer.system >= 19'000'000);
  CHECK(clock.begin(30'000'000));
  CHECK(!clock.begin(30'000'001));
}
