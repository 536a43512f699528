// Workers that scribble over the memory that they share with the pool.
#include <unistd.h>

#include <cofork/ipc/task_segment.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/wait.hpp>
#include <cstdio>
#include <cstring>
#include <random>
#include <ranges>
#include <span>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using namespace cofork::ipc;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

// In a worker: the memory that it shares with its pool and may write.
std::span<std::uint64_t> result_memory() {
  std::FILE* const maps = std::fopen("/proc/self/maps", "re");
  char line[512];
  std::span<std::uint64_t> found;
  while (std::fgets(line, sizeof line, maps)) {
    if (!std::strstr(line, "cofork-results")) continue;
    std::uintptr_t begin = 0, end = 0;
    if (std::sscanf(line, "%lx-%lx", &begin, &end) == 2)
      found = {reinterpret_cast<std::uint64_t*>(begin), (end - begin) / sizeof(std::uint64_t)};
  }
  std::fclose(maps);
  return found;
}
WorkerWords& words() { return *reinterpret_cast<WorkerWords*>(result_memory().data()); }

// What a test does to it, by number; then it dies, or never ends, or goes on as if nothing had happened.
enum class End { die, hang, go_on };
int scribble(int seed, End end) {
  std::mt19937_64 random(static_cast<unsigned>(seed));
  const std::span<std::uint64_t> memory = result_memory();
  std::byte* const bytes = reinterpret_cast<std::byte*>(memory.data());
  auto* const claims = reinterpret_cast<Claim*>(bytes + ResultFileLayout::claims);
  switch (seed % 8) {
    case 0:
      words().frames_passed = random() % 2 == 0 ? random() : words().frames_passed + random() % 5;
      break;
    case 1:
      words().result_bytes = random() % 2 == 0 ? random() : words().result_bytes + random() % 200 * 8;
      break;
    case 2:
      for (std::size_t i = 0; i < max_frames; ++i) claims[i].word = random() & random() & random();
      break;
    case 3:
      for (std::size_t i = 0; i < max_frames; ++i) claims[i].word = 0;
      break;
    case 4:
      for (std::size_t i = 0; i < max_frames; ++i) claims[i].begun_at = static_cast<std::int64_t>(random());
      break;
    case 5: {
      // A result of another task, or an empty one of its own.
      auto* const frames = reinterpret_cast<ResultFrame*>(bytes + ResultFileLayout::ring);
      for (std::size_t i = 0; i < 100; ++i)
        frames[i] = {static_cast<ResultFrame::Kind>(random() % 5),
                     static_cast<std::uint8_t>(random() % 8 == 0),
                     static_cast<std::uint16_t>(random() % 3),
                     static_cast<std::uint32_t>(random() % 3),
                     {},
                     0,
                     0,
                     0};
      words().result_bytes += sizeof(ResultFrame) * (1 + random() % 100);
      break;
    }
    case 6:
      for (std::size_t i = 8; i < memory.size(); i += 1 + random() % 9)
        memory[i] = random() % 3 ? random() % 100 : random();
      break;
    case 7:
      for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = random();
      break;
  }
  if (end == End::die) ::_exit(0);
  if (end == End::hang)
    for (;;) pause_for(1h);
  return 1;
}

}  // namespace

TEST_CASE("a worker that breaks the protocol harms nobody but its own tasks") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 1ms});
    const auto slow_square = [](int x) {
      pause_for(20us);
      return x * x;
    };
    for (int seed = 0; seed < 96; ++seed) {
      INFO("seed " << seed);
      auto end = static_cast<End>(seed / 8 % 3);
      // A task that says for ever that it has not been begun is nothing that the pool could end by a timeout.
      if (end == End::hang && (seed % 8 == 2 || seed % 8 == 3 || seed % 8 >= 6)) end = End::die;
      std::vector<Future<int>> others;
      // What is sent to one that goes on may be stuck there, again and again; nothing is expected of it but an end.
      for (int i = 0; i < 5; ++i) others.push_back(pool.submit({.timeout = 500ms}, slow_square, i));
      auto bad = pool.submit({.timeout = 30ms * support::slowdown}, scribble, seed, end);
      auto stream = pool.map({.chunksize = static_cast<std::size_t>(seed % 4), .item_timeout = 500ms}, slow_square,
                             std::views::iota(0, 40));
      co_await cofork::wait(others);
      try {
        while (co_await stream.next()) {
        }
      } catch (const std::exception&) {
      }
      const bool done = co_await until([&] { return bad.done(); });
      CHECK(done);
    }
    std::vector<Future<int>> after;
    for (int i = 0; i < 200; ++i) after.push_back(pool.submit({.timeout = 15s, .retries = 3}, slow_square, i));
    co_await cofork::wait(after);
    int lost = 0, wrong = 0;
    for (int i = 0; i < 200; ++i) {
      auto& future = after[static_cast<std::size_t>(i)];
      if (future.exception())
        ++lost;
      else
        wrong += future.result() != i * i;
    }
    // Those in the last scribbler's worker may have been lost with it.
    CHECK(lost <= 3);
    CHECK(wrong == 0);
  });
}

TEST_CASE("a garbled result is a decode error of its future") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto bad = pool.submit([] {
      words().result_bytes = 12;
      for (;;) pause_for(1h);
    });
    // Nobody rang: it is seen when the loop looks for what others have.
    while (!bad.done()) {
      const int value = co_await pool.submit(square, 5);
      if (value != 25) FAIL("a wrong value");
    }
    CHECK(error_of<cofork::DecodeError>(bad).find("malformed message") == 0);
  });
}
