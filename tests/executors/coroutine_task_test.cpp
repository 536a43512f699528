// Functions that return a Task, run by a pool.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/shield.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <csignal>
#include <ranges>
#include <string>
#include <system_error>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::CancelledError;
using cofork::Future;
using cofork::Loop;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::TimeoutError;

namespace {

Task<int> square_later(int x) {
  co_await cofork::sleep(1ms);
  co_return x* x;
}
Task<int> square_at_once(int x) { co_return x* x; }
Task<pid_t> sleep_for_ever(int counter) {
  ++Shared::at(static_cast<std::size_t>(counter));
  co_await cofork::sleep(1h);
  co_return ::getpid();
}
Task<int> notice_cancellation(int counter) {
  try {
    co_await sleep_for_ever(counter);
  } catch (const CancelledError&) {
    ++Shared::at(static_cast<std::size_t>(counter + 1));
    throw;
  }
  co_return 0;
}
Task<int> swallow_cancellation(int counter) {
  try {
    co_await sleep_for_ever(counter);
  } catch (const CancelledError&) {
  }
  co_return 7;
}

int open_descriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  int count = 0;
  while (::readdir(directory)) ++count;
  ::closedir(directory);
  return count;
}

}  // namespace

TEST_CASE("coroutine tasks of a worker run on one loop, which stays") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto loop = []() -> Task<std::uintptr_t> {
      co_await cofork::yield_now();
      co_return reinterpret_cast<std::uintptr_t>(&Loop::current());
    };
    const auto first = co_await pool.submit(loop);
    const int open = co_await pool.submit(open_descriptors);
    std::vector<Future<int>> squares;
    for (int i = 0; i < 10'000; ++i) squares.push_back(pool.submit(i % 50 == 0 ? square_later : square_at_once, i));
    for (int i = 0; i < 10'000; ++i) {
      const int value = co_await squares[static_cast<std::size_t>(i)];
      if (value != i * i) FAIL("a wrong value");
    }
    const auto last = co_await pool.submit(loop);
    CHECK(first == last);
    const int still_open = co_await pool.submit(open_descriptors);
    CHECK(open == still_open);
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("a plain function in a worker finds no loop, also after coroutines, and may run one of its own") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto plain = [] {
      try {
        Loop::current();
        return -1;
      } catch (const std::logic_error&) {
      }
      return cofork::run(square_later(5));
    };
    const int before = co_await pool.submit(plain);
    const int coroutine = co_await pool.submit(square_later, 3);
    const int after = co_await pool.submit(plain);
    const int again = co_await pool.submit(square_later, 4);
    CHECK(before == 25);
    CHECK(coroutine == 9);
    CHECK(after == 25);
    CHECK(again == 16);
  });
}

TEST_CASE("what a coroutine task leaves spawned is cancelled and has ended before its result") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto leave_some = []() -> Task<int> {
      for (int i = 0; i < 3; ++i) static_cast<void>(cofork::spawn(notice_cancellation(1)));
      while (Shared::at(1) % 3 != 0 || Shared::at(1) == 0) co_await cofork::yield_now();
      co_return 5;
    };
    for (int round = 1; round <= 3; ++round) {
      shared[1] = 0;
      const int value = co_await pool.submit(leave_some);
      CHECK(value == 5);
      CHECK(shared[2] == 3 * round);
      // The loop's next task is not cancelled with them.
      const int next = co_await pool.submit(square_later, round);
      CHECK(next == round * round);
    }
  });
}

TEST_CASE("handles that a coroutine task leaves open on its loop are not the next one's") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto leave_a_watch = []() -> Task<int> {
      static uv_poll_t watch;
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) < 0) throw std::system_error(errno, std::generic_category(), "pipe2");
      uv_poll_init(Loop::current().uv(), &watch, ends[0]);
      uv_poll_start(&watch, UV_READABLE, [](uv_poll_t*, int, int) { ::_exit(3); });
      co_return ends[1];
    };
    const auto make_it_ready = [](int end) -> Task<bool> {
      const bool written = ::write(end, "!", 1) == 1;
      for (int i = 0; i < 3; ++i) co_await cofork::sleep(1ms);
      co_return written;
    };
    // It is told of on the worker's standard error, which is to be quiet here.
    co_await pool.submit([] { static_cast<void>(std::freopen("/dev/null", "w", stderr)); });
    const int end = co_await pool.submit(leave_a_watch);
    const bool made_ready = co_await pool.submit(make_it_ready, end);
    CHECK(made_ready);
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("a coroutine task that is killed is cancelled where it waits, and its worker stays") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    const pid_t worker = co_await pool.submit(own_pid);
    for (int round = 1; round <= 50; ++round) {
      auto future = pool.submit(notice_cancellation, 1);
      const bool begun = co_await until([&] { return shared[1] == round; });
      CHECK(begun);
      CHECK(future.running());
      CHECK_FALSE(future.cancel());
      CHECK(future.kill());
      CHECK(future.kill());
      const bool done = co_await until([&] { return future.done(); });
      CHECK(done);
      CHECK(future.cancelled());
      CHECK(shared[2] == round);
    }
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
    CHECK(pool.stats().cancelled == 50);
  });
}

TEST_CASE("a coroutine task that gives a value after it was killed is cancelled all the same") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    auto future = pool.submit(swallow_cancellation, 1);
    const bool begun = co_await until([&] { return shared[1] == 1; });
    CHECK(begun);
    CHECK(future.kill());
    bool cancelled = false;
    try {
      co_await future;
    } catch (const CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
    CHECK(pool.stats().workers_started == 1);
  });
}

TEST_CASE("a coroutine that is cancelled while it awaits a coroutine task cancels that, and the worker stays") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    const pid_t worker = co_await pool.submit(own_pid);
    for (int round = 1; round <= 20; ++round) {
      bool late = false;
      try {
        co_await cofork::wait_for(pool.submit(notice_cancellation, 1), 2ms);
      } catch (const TimeoutError&) {
        late = true;
      }
      CHECK(late);
    }
    CHECK(shared[1] == shared[2]);
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
  });
}

TEST_CASE("a coroutine task that exceeds its timeout is cancelled, and its worker stays") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    const pid_t worker = co_await pool.submit(own_pid);
    auto late = pool.submit({.timeout = 5ms}, notice_cancellation, 1);
    auto behind = pool.submit(square_later, 4);
    auto late_too = pool.submit({.timeout = 5ms}, notice_cancellation, 1);
    const int value = co_await behind;
    CHECK(value == 16);
    const bool done = co_await until([&] { return late.done() && late_too.done(); });
    CHECK(done);
    CHECK(error_of<TimeoutError>(late).find("exceeded its timeout of 0.005 s") != std::string::npos);
    CHECK(error_of<TimeoutError>(late_too).find("exceeded its timeout of 0.005 s") != std::string::npos);
    CHECK(shared[2] == 2);
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
  });
}

TEST_CASE("a coroutine task that does not end when it is asked to is killed after the grace") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 1ms});
    const pid_t worker = co_await pool.submit(own_pid);
    // One that computes and one that waits on.
    auto computing = pool.submit(
        [](int counter) -> Task<> {
          never_end(counter);
          co_return;
        },
        1);
    const bool begun = co_await until([&] { return shared[1] == 1; });
    CHECK(begun);
    CHECK(computing.kill());
    const bool done = co_await until([&] { return computing.done(); });
    CHECK(done);
    CHECK(computing.cancelled());
    const pid_t second = co_await pool.submit(own_pid);
    CHECK(second != worker);

    auto stubborn = pool.submit(
        {.timeout = 5ms},
        [](int counter) -> Task<> {
          for (;;) try {
              co_await sleep_for_ever(counter);
            } catch (const CancelledError&) {
              pause_for(1ms);
            }
        },
        1);
    const bool over = co_await until([&] { return stubborn.done(); });
    CHECK(over);
    CHECK(error_of<TimeoutError>(stubborn).find("timeout") != std::string::npos);
    const pid_t third = co_await pool.submit(own_pid);
    CHECK(third != second);
  });
}

TEST_CASE("map calls coroutines, stops them one by one, and keeps the workers") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 30s});
    const std::vector<int> squares = co_await pool.map(square_later, std::views::iota(0, 100));
    CHECK(squares.size() == 100);
    CHECK(squares[99] == 99 * 99);

    const auto some_sleep = [](int x) -> Task<int> {
      if (x == 1 || x == 6) co_await cofork::sleep(1h);
      co_return x;
    };
    // Until each worker has executed all but its sleeper in less time than that may take.
    bool in_time = false;
    for (std::chrono::milliseconds timeout = 250ms; !in_time; timeout *= 2) {
      const auto begin = std::chrono::steady_clock::now();
      auto stream = pool.map({.chunksize = 4, .item_timeout = timeout}, some_sleep, std::views::iota(0, 15));
      std::vector<int> late;
      for (int i = 0; i < 15; ++i) {
        try {
          const auto value = co_await stream.next();
          CHECK(value == i);
        } catch (const TimeoutError&) {
          late.push_back(i);
        }
      }
      in_time = std::chrono::steady_clock::now() - begin < 2 * timeout;
      CHECK((late == std::vector<int>{1, 6} || !in_time));
    }
    for (int round = 0; round < 20; ++round) {
      auto dropped = pool.map({.chunksize = 3}, sleep_for_ever, std::vector<int>(10, 5));
      if (round % 2 == 0) co_await cofork::sleep(1ms);
    }
    std::vector<Future<int>> after;
    for (int i = 0; i < 10; ++i) after.push_back(pool.submit(square_later, i));
    for (int i = 0; i < 10; ++i) {
      const int value = co_await after[static_cast<std::size_t>(i)];
      CHECK(value == i * i);
    }
    CHECK(pool.stats().workers_started == 2);
  });
}

TEST_CASE("a coroutine task may have a pool of its own, which ends with it") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    const pid_t worker = co_await pool.submit(own_pid);
    const auto nested = [](int x) -> Task<int> {
      ProcessPoolExecutor inner(1);
      auto never = inner.submit(never_end, 1);
      auto result = inner.submit({.priority = 1}, square, x);
      while (Shared::at(1) == 0) co_await cofork::sleep(100us);
      if (x == 0) co_await cofork::sleep(1h);
      never.kill();
      co_return co_await result;
    };
    for (int round = 0; round < 6; ++round) {
      shared[1] = 0;
      auto future = pool.submit(nested, round % 2 * 3);
      if (round % 2 == 0) {
        const bool begun = co_await until([&] { return shared[1] == 1; });
        CHECK(begun);
        CHECK(future.kill());
        const bool done = co_await until([&] { return future.done(); });
        CHECK(done);
        CHECK(future.cancelled());
      } else {
        const int value = co_await future;
        CHECK(value == 9);
      }
    }
    const pid_t after = co_await pool.submit(own_pid);
    CHECK(after == worker);
  });
}

TEST_CASE("a late request to stop never meets the next task", "[limit:180]") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .grace = 30s});
    int stopped = 0;
    for (int round = 0; round < 2000; ++round) {
      auto killed = pool.submit(round % 2 == 0 ? square_at_once : square_later, 3);
      auto next = pool.submit(square_later, 4);
      for (int i = 0; i < round % 40; ++i) co_await cofork::yield_now();
      if (killed.kill()) ++stopped;
      const int value = co_await next;
      if (value != 16) FAIL("a wrong value");
      const bool done = co_await until([&] { return killed.done(); });
      if (!done) FAIL("a future that does not end");
    }
    CHECK(stopped > 0);
    CHECK(pool.stats().workers_started == 1);
    CHECK(pool.stats().workers_died == 0);
  });
}

TEST_CASE("coroutine tasks are killed at every state", "[limit:180]") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2, .grace = 30s});
    for (int round = 0; round < 500; ++round) {
      auto first = pool.submit(notice_cancellation, 1);
      auto second = pool.submit(square_later, round);
      for (int i = 0; i < round % 6; ++i) co_await cofork::yield_now();
      if (round % 5 == 0) co_await cofork::sleep(std::chrono::microseconds(round));
      first.kill();
      if (round % 3 == 0) second.kill();
      const bool done = co_await until([&] { return first.done() && second.done(); });
      if (!done) FAIL("a future that does not end");
      CHECK(first.cancelled());
    }
    CHECK(shared[1] == shared[2]);
    CHECK(pool.stats().workers_started <= 2);
    CHECK(pool.stats().workers_died == 0);
  });
}
