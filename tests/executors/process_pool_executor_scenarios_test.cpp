// Scenarios of CPython's tests of concurrent.futures that the other files do not have.
#include <cofork/runtime/as_completed.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/wait.hpp>
#include <csignal>
#include <memory>
#include <optional>
#include <ranges>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::ReturnWhen;
using cofork::Task;

namespace {

pid_t test_process = 0;

enum class Trouble { none, throws, exits, crashes };
void make(Trouble trouble) {
  switch (trouble) {
    case Trouble::none:
      return;
    case Trouble::throws:
      throw std::domain_error("trouble");
    case Trouble::exits:
      ::_exit(1);
    case Trouble::crashes:
      ::raise(SIGKILL);
  }
}

// Makes trouble where its codec is told to: only in a worker, for encoding or decoding.
struct Bomb {
  Trouble on_encode = Trouble::none;
  Trouble on_decode = Trouble::none;
  std::vector<char> padding;
};

struct Tracked {
  static inline int alive = 0;
  std::vector<int> contents;
  Tracked() { ++alive; }
  explicit Tracked(std::size_t size) : contents(size, 1) { ++alive; }
  Tracked(const Tracked& other) : contents(other.contents) { ++alive; }
  Tracked(Tracked&& other) noexcept : contents(std::move(other.contents)) { ++alive; }
  Tracked& operator=(const Tracked&) = default;
  ~Tracked() { --alive; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(contents);
  }
};

int sleep_for(int milliseconds) {
  pause_for(std::chrono::milliseconds(milliseconds));
  return milliseconds;
}
int fail_after(int milliseconds) {
  pause_for(std::chrono::milliseconds(milliseconds));
  throw std::runtime_error("failed");
}

}  // namespace

template <>
struct cofork::Codec<Bomb> {
  static void encode(ipc::Writer& writer, const Bomb& bomb) {
    if (::getpid() != test_process) make(bomb.on_encode);
    writer.value(bomb.on_encode);
    writer.value(bomb.on_decode);
    cofork::ipc::encode<std::vector<char>>(writer, bomb.padding);
  }
  static Bomb decode(ipc::Reader& reader) {
    Bomb bomb;
    bomb.on_encode = reader.value<Trouble>();
    bomb.on_decode = reader.value<Trouble>();
    bomb.padding = cofork::ipc::decode<std::vector<char>>(reader);
    if (::getpid() != test_process) make(bomb.on_decode);
    return bomb;
  }
};

TEST_CASE("trouble in a codec inside of a worker fails one future") {
  test_process = ::getpid();
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    const auto echo = [](Bomb bomb) { return bomb; };
    for (const std::size_t size : {10u, 3'000'000u}) {
      for (const Trouble trouble : {Trouble::throws, Trouble::exits, Trouble::crashes}) {
        for (const bool encoding : {false, true}) {
          Bomb bomb;
          (encoding ? bomb.on_encode : bomb.on_decode) = trouble;
          bomb.padding.resize(size);
          std::vector<Future<Bomb>> futures;
          futures.push_back(pool.submit(echo, Bomb()));
          futures.push_back(pool.submit(echo, bomb));
          futures.push_back(pool.submit(echo, Bomb()));
          co_await cofork::wait(futures);
          CHECK(futures[0].exception() == nullptr);
          CHECK(futures[2].exception() == nullptr);
          if (trouble == Trouble::throws)
            CHECK(error_of<std::domain_error>(futures[1]) == "trouble");
          else
            CHECK(error_of<cofork::WorkerDied>(futures[1]).find("while it executed") != std::string::npos);
        }
      }
    }
  });
}

TEST_CASE("a task that crashes over large data is noticed at once") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto crash = [](std::vector<char> data) {
      ::raise(SIGKILL);
      return data.size();
    };
    auto future = pool.submit(crash, std::vector<char>(50'000'000, 'x'));
    const bool done = co_await until([&] { return future.done(); });
    REQUIRE(done);
    CHECK(error_of<cofork::WorkerDied>(future).find("SIGKILL") != std::string::npos);
  });
}

TEST_CASE("arguments are freed when they are sent and results when they are taken") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto pass = [](Tracked tracked) {
      pass_gate(0);
      return tracked;
    };
    {
      std::vector<Future<Tracked>> futures;
      for (int i = 0; i < 5; ++i) futures.push_back(pool.submit(pass, Tracked(100)));
      CHECK(Tracked::alive == 4);  // those that wait in the queue
      shared[0] = 1;
      co_await cofork::wait(futures);
      CHECK(Tracked::alive == 5);
      for (int i = 0; i < 5; ++i) {
        const Tracked taken = co_await std::move(futures[static_cast<std::size_t>(i)]);
        CHECK(taken.contents.size() == 100);
      }
      CHECK(Tracked::alive == 0);
      auto cancelled = pool.submit(pass, Tracked(1));
      auto queued = pool.submit(pass, Tracked(1));
      queued.kill();
      co_await cancelled;
    }
    CHECK(Tracked::alive == 0);
    {
      auto stream = pool.map(pass, std::views::iota(0, 50) | std::views::transform([](int) { return Tracked(10); }));
      for (int i = 0; i < 10; ++i) co_await stream.next();
    }
    co_await pool.shutdown();
    CHECK(Tracked::alive == 0);
  });
}

TEST_CASE("wait returns at the first, at the first failure, or when all are done") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 5ms});
    const int warm = co_await pool.submit(sleep_for, 0);
    CHECK(warm == 0);
    std::vector<Future<int>> futures;
    futures.push_back(pool.submit(wait_at_gate, 0, 1));
    futures.push_back(pool.submit(sleep_for, 5));
    const cofork::WaitOptions until_first{.return_when = ReturnWhen::first_completed};
    const auto first = co_await cofork::wait(futures, until_first);
    CHECK(first.done == std::vector<std::size_t>{1});
    CHECK(first.not_done == std::vector<std::size_t>{0});
    futures.push_back(pool.submit(sleep_for, 2));
    futures.push_back(pool.submit(fail_after, 2));
    const cofork::WaitOptions until_failed{.return_when = ReturnWhen::first_exception};
    const auto failed = co_await cofork::wait(futures, until_failed);
    CHECK(failed.not_done == std::vector<std::size_t>{0});
    const auto late = co_await cofork::wait(futures, {.timeout = 5ms});
    CHECK(late.done.size() == 3);
    CHECK(late.not_done == std::vector<std::size_t>{0});
    shared[1] = 1;
    const auto all = co_await cofork::wait(futures);
    CHECK(all.done.size() == 4);
  });
}

TEST_CASE("as_completed gives futures of a pool as they end, each once") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    futures.push_back(pool.submit(wait_at_gate, 0, 1));
    for (int i = 1; i <= 3; ++i) futures.push_back(pool.submit(sleep_for, i));
    auto completed = cofork::as_completed(std::move(futures), {.timeout = 30s});
    int sum = 0;
    for (int i = 0; i < 3; ++i) {
      auto future = co_await completed.next();
      REQUIRE(future);
      sum += future->result();
    }
    CHECK(sum == 6);
    shared[1] = 1;
    auto last = co_await completed.next();
    REQUIRE(last);
    CHECK(last->result() == 0);
    auto end = co_await completed.next();
    CHECK_FALSE(end);
    // And in time.
    Shared::at(1) = 0;
    std::vector<Future<int>> stuck;
    for (int i = 0; i < 4; ++i)
      stuck.push_back(pool.submit(
          i < 2 ? wait_at_gate : [](int a, int) { return a; }, 0, 1));
    auto timed = cofork::as_completed(std::move(stuck), {.timeout = 30ms});
    std::string what;
    try {
      while (co_await timed.next()) {
      }
    } catch (const cofork::TimeoutError& error) {
      what = error.what();
    }
    CHECK(what == "4 (of 4) futures unfinished");
    shared[1] = 1;
  });
}

TEST_CASE("a saturated pool starts no more than its workers and finishes everything") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(3);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 60; ++i) futures.push_back(pool.submit(wait_at_gate, 0, 1));
    const bool started = co_await until([&] { return shared[0] == 3; });
    REQUIRE(started);
    const std::vector<pid_t> pids = co_await workers_of(pool, 3);
    CHECK(pids.size() == 3);
    CHECK(pool.stats().pending == 57);
    shared[1] = 1;
    co_await cofork::gather(std::move(futures));
    CHECK(shared[0] == 60);
    CHECK(pool.worker_pids().size() == 3);
  });
}
