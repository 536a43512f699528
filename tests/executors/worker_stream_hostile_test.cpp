// Workers that forge the values of streams.
#include <unistd.h>

#include <cofork/ipc/task_segment.hpp>
#include <cofork/runtime/stream.hpp>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>

#include "executors/pool_harness.hpp"
#include "support/stop.hpp"

using namespace pool_test;
using namespace cofork::ipc;
using cofork::DecodeError;
using cofork::ProcessPoolExecutor;
using cofork::Stream;
using cofork::Task;

namespace {

// In a worker: the memory that it shares with its pool and may write.
std::byte* result_memory() {
  std::FILE* const maps = std::fopen("/proc/self/maps", "re");
  char line[512];
  std::uintptr_t begin = 0;
  while (std::fgets(line, sizeof line, maps))
    if (std::strstr(line, "cofork-results") && std::sscanf(line, "%lx", &begin) == 1) break;
  std::fclose(maps);
  return reinterpret_cast<std::byte*>(begin);
}

/// In a worker whose frames have one item each: publishes empty results of the item that it executes, all at once.
void forge(std::initializer_list<ResultFrame::Kind> kinds, int times = 1) {
  std::byte* const memory = result_memory();
  auto& words = *reinterpret_cast<WorkerWords*>(memory);
  const auto frame = static_cast<std::uint16_t>(words.frames_passed);
  auto bytes = words.result_bytes.load();
  for (int i = 0; i < times; ++i) {
    for (const ResultFrame::Kind kind : kinds) {
      auto* const at = memory + ResultFileLayout::ring + bytes % result_ring_bytes;
      *reinterpret_cast<ResultFrame*>(at) = {kind, 0, frame, 0, {}, 0, 0, 0};
      bytes += sizeof(ResultFrame);
    }
  }
  words.result_bytes = bytes;
}

Task<> keep_looking(ProcessPoolExecutor& pool, int rounds) {
  // Nobody rang: forged results are seen when the loop looks for what others have.
  for (int i = 0; i < rounds; ++i) {
    const int value = co_await pool.submit(square, 5);
    if (value != 25) FAIL("a wrong value");
  }
}

/// Reads the stream to its end, while others work; what it ended with.
template <class T>
Task<std::string> end_of(ProcessPoolExecutor& pool, Stream<T>& stream, int& values) {
  const bool forged = co_await until([] { return Shared::at(1) == 1; });
  if (!forged) FAIL("the worker does not forge anything");
  co_await keep_looking(pool, 20);
  try {
    for (bool more = true; more; values += more) more = static_cast<bool>(co_await stream.next());
  } catch (const DecodeError& error) {
    co_return error.what();
  }
  co_return "";
}

/// One process cannot decode what is negative.
struct Picky {
  static inline pid_t reader = 0;
  int number;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(number);
    if (number < 0 && ::getpid() == reader) throw std::domain_error("a negative number");
  }
};

}  // namespace

TEST_CASE("a stream's value from a task that is no stream fails the task") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto bad = pool.submit([] {
      forge({ResultFrame::streamed});
      for (;;) pause_for(1h);
    });
    while (!bad.done()) co_await keep_looking(pool, 1);
    CHECK(error_of<DecodeError>(bad).find("a stream's value from a task that is no stream") != std::string::npos);
    auto coroutine = pool.submit([]() -> Task<> {
      forge({ResultFrame::streamed});
      for (;;) pause_for(1h);
      co_return;
    });
    while (!coroutine.done()) co_await keep_looking(pool, 1);
    CHECK(error_of<DecodeError>(coroutine).find("no stream") != std::string::npos);
  });
}

TEST_CASE("values beyond a stream's credit end it, after those that it had credit for") {
  Shared shared;
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto flood = pool.submit([]() -> Stream<void> {
      forge({ResultFrame::streamed}, 1000);
      Shared::at(1) = 1;
      for (;;) pause_for(1h);
      co_return;
    });
    int values = 0;
    const std::string error = co_await end_of(pool, flood, values);
    CHECK(values == static_cast<int>(stream_window_values));
    CHECK(error.find("beyond its credit") != std::string::npos);
  });
}

TEST_CASE("nothing is taken from a worker any more that broke the protocol, however long it lives") {
  Shared shared;
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .prestart = true});
    co_await workers_of(pool, 2);
    const pid_t server = co_await pool.submit([] { return ::getppid(); });
    auto flood = pool.submit([]() -> Stream<void> {
      forge({ResultFrame::streamed}, 1000);
      Shared::at(1) = 1;
      for (;;) pause_for(1h);
      co_return;
    });
    const bool forged = co_await until([] { return Shared::at(1) == 1; });
    REQUIRE(forged);
    support::stop(server);  // which would kill it
    int values = 0;
    for (; values < static_cast<int>(stream_window_values); ++values) {
      co_await keep_looking(pool, 1);
      const bool more = static_cast<bool>(co_await flood.next());
      REQUIRE(more);
    }
    ::kill(server, SIGCONT);
    const std::string error = co_await end_of(pool, flood, values);
    CHECK(values == static_cast<int>(stream_window_values));
    CHECK(error.find("beyond its credit") != std::string::npos);
  });
}

TEST_CASE("a stream's value after its end is no value, and its worker is replaced") {
  Shared shared;
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto stream = pool.submit([]() -> Stream<void> {
      forge({ResultFrame::streamed, ResultFrame::streamed, ResultFrame::value, ResultFrame::streamed});
      Shared::at(1) = 1;
      for (;;) pause_for(1h);
      co_return;
    });
    int values = 0;
    const std::string error = co_await end_of(pool, stream, values);
    CHECK(values == 2);
    CHECK(error == "");
    const bool replaced = co_await until([&] { return pool.stats().workers_died == 1; });
    CHECK(replaced);
    co_await keep_looking(pool, 10);
  });
}

TEST_CASE("a value that cannot be decoded ends its stream after those before it, and the worker stays") {
  Picky::reader = ::getpid();
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    const pid_t worker = co_await pool.submit(own_pid);
    auto stream = pool.submit([]() -> Stream<Picky> {
      for (int i = 3;; --i) co_yield Picky{i};
    });
    std::vector<int> values;
    std::string error;
    try {
      while (const auto value = co_await stream.next()) values.push_back(value->number);
    } catch (const std::domain_error& thrown) {
      error = thrown.what();
    }
    CHECK(values == std::vector<int>{3, 2, 1, 0});
    CHECK(error == "a negative number");
    const auto end = co_await stream.next();
    CHECK_FALSE(end);
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
  });
}
