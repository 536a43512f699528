// How tasks of a ForkExecutor end otherwise than with a result, and how the executor does.
#include <sys/resource.h>
#include <sys/socket.h>

#include <fstream>

#include "executors/fork_harness.hpp"
#include "support/sanitizers.hpp"

using namespace fork_test;
using cofork::ForkExecutor;
using cofork::Future;
using cofork::Task;

TEST_CASE("ForkExecutor: a child that dies fails its own task only, and says how") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    Future<int> good = executor.submit([] { return 1; });
    Future<void> bad = executor.submit({.name = "bad one"}, [] { ::raise(SIGKILL); });
    const int value = co_await std::move(good);
    CHECK(value == 1);
    try {
      co_await std::move(bad);
      FAIL("it ended well");
    } catch (const cofork::WorkerDied& error) {
      CHECK(error.exitcode() == -SIGKILL);
      CHECK(error.task_name() == "bad one");
      CHECK(error.pid() > 0);
      CHECK(error.usage().has_value());
      CHECK(contains(error.what(), "SIGKILL"));
    }
    CHECK(executor.stats().workers_died == 1);
  });
}

TEST_CASE("ForkExecutor: exit and _exit in a task are the end of its child, whatever the status") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const std::string zero = co_await thrown_by<cofork::WorkerDied>(executor.submit([] { std::exit(0); }));
    CHECK(contains(zero, "exited with status 0"));
    const std::string three = co_await thrown_by<cofork::WorkerDied>(executor.submit([] { ::_exit(3); }));
    CHECK(contains(three, "exited with status 3"));
  });
}

TEST_CASE("ForkExecutor: what a task leaves running ends with it") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    const pid_t left = co_await executor.submit([] {
      const pid_t pid = ::fork();
      if (pid == 0)
        for (;;) ::pause();
      return pid;
    });
    const bool gone = co_await until([&] { return !support::is_running(left); });
    CHECK(gone);
  });
}

TEST_CASE("ForkExecutor: a task beyond its timeout is stopped with TimeoutError") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    const std::string what =
        co_await thrown_by<cofork::TimeoutError>(executor.submit({.timeout = 50ms, .name = "slow"}, &never_end, 0));
    CHECK(contains(what, "slow exceeded its timeout"));
  });
}

TEST_CASE("ForkExecutor: SIGKILL ends what ignores SIGTERM, after the grace") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto stubborn = [] {
      ::signal(SIGTERM, SIG_IGN);
      for (;;) pause_for(1h);
    };
    const std::string what =
        co_await thrown_by<cofork::TimeoutError>(executor.submit({.timeout = 30ms, .grace = 30ms}, stubborn));
    CHECK(contains(what, "timeout"));
  });
}

TEST_CASE("ForkExecutor: the timeout counts from a task's turn") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    Future<int> first = executor.submit([] { return wait_at_gate(0, 1); });
    Future<int> second = executor.submit({.timeout = 200ms}, &never_end, 2);
    co_await cofork::sleep(250ms);
    CHECK_FALSE(second.done());
    const auto before_turn = std::chrono::steady_clock::now();
    shared[1] = 1;
    co_await std::move(first);
    const std::string what = co_await thrown_by<cofork::TimeoutError>(std::move(second));
    CHECK(contains(what, "timeout"));
    CHECK(std::chrono::steady_clock::now() - before_turn >= 200ms);
  });
}

TEST_CASE("ForkExecutor: cancel works until a task's turn, kill also later, neither when it is done") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    Future<int> running = executor.submit(&never_end, 0);
    Future<int> waiting = executor.submit(&never_end, 1);
    Future<int> last = executor.submit(&square, 3);
    CHECK(waiting.cancel());
    CHECK(waiting.cancelled());
    CHECK(waiting.cancel());
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    CHECK_FALSE(running.cancel());
    CHECK(running.kill());
    const int value = co_await last;
    CHECK(value == 9);
    CHECK(running.cancelled());
    CHECK(shared[1] == 0);
    CHECK_FALSE(last.cancel());
    CHECK_FALSE(last.kill());
    CHECK(last.usage().has_value());
  });
  CHECK(children() == 0);
}

TEST_CASE("ForkExecutor: cancelling who awaits a task ends its child") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    auto slow = [&shared] {
      shared[0] = ::getpid();
      for (;;) pause_for(1h);
    };
    const std::string what = co_await thrown_by<cofork::TimeoutError>(cofork::wait_for(executor.submit(slow), 200ms));
    CHECK(what != "no error");
    CHECK(executor.stats().running == 0);
    CHECK((shared[0] == 0 || !support::is_running(shared[0])));
  });
}

TEST_CASE("ForkExecutor: a child that is killed before its turn is a dead worker, not a hang") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    Future<int> first = executor.submit([] { return wait_at_gate(0, 1); });
    Future<int> second = executor.submit(&square, 2);
    Future<int> retried = executor.submit({.retries = 1}, &square, 4);
    std::ifstream list("/proc/thread-self/children");  // the oldest first
    std::vector<pid_t> pids;
    for (pid_t pid = 0; list >> pid;) pids.push_back(pid);
    REQUIRE(pids.size() == 3);
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    ::kill(pids[1], SIGKILL);
    ::kill(pids[2], SIGKILL);
    const int value = co_await std::move(retried);
    CHECK(value == 16);
    const std::string what = co_await thrown_by<cofork::WorkerDied>(std::move(second));
    CHECK(contains(what, "SIGKILL"));
    CHECK(executor.stats().running == 1);
    shared[1] = 1;
    co_await std::move(first);
    CHECK(executor.stats().running == 0);
    CHECK(executor.stats().workers == 0);
  });
}

TEST_CASE("ForkExecutor: retries fork again, from the memory of then") {
  cofork::run([]() -> Task<> {
    Shared shared;
    int value = 1;
    ForkExecutor executor(1);
    auto second_time = [&] {
      if (shared[0]++ == 0) {
        pass_gate(1);
        ::abort();
      }
      return value;
    };
    Future<int> result = executor.submit({.retries = 2}, second_time);
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    value = 2;
    shared[1] = 1;
    const int got = co_await std::move(result);
    CHECK(got == 2);
    CHECK(shared[0] == 2);
    const std::string what =
        co_await thrown_by<cofork::WorkerDied>(executor.submit({.retries = 2}, [&] { ++shared[2], ::abort(); }));
    CHECK(contains(what, "SIGABRT"));
    CHECK(shared[2] == 3);
  });
}

TEST_CASE("ForkExecutor: a memory limit is bad_alloc in the task", "[limit:120]") {
  if (support::address_sanitizer || support::thread_sanitizer) return;
  cofork::run([]() -> Task<> {
    std::vector<char> present(64 << 20, 'x');
    ForkExecutor executor(1);
    auto greedy = [&] {
      std::vector<char> more(std::size_t{200} << 20, 'y');
      return more[5] + present[7];
    };
    const std::string what =
        co_await thrown_by<std::bad_alloc>(executor.submit({.memory_limit = std::size_t{50} << 20}, greedy));
    CHECK_FALSE(contains(what, "error"));
    const int free = co_await executor.submit(greedy);
    CHECK(free == 'x' + 'y');
  });
}

TEST_CASE("ForkExecutor: a CPU limit ends a task that computes for ever", "[limit:180]") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto spin = [] {
      for (std::atomic<unsigned> turns = 0;;) ++turns;
    };
    const std::string what = co_await thrown_by<cofork::WorkerDied>(executor.submit({.cpu_limit = 1s}, spin));
    CHECK(contains(what, "SIGXCPU"));
  });
}

TEST_CASE("ForkExecutor: without a free descriptor there is an error that says so") {
  if (support::needs_free_descriptors()) return;
  const auto child = support::in_child([] {
    cofork::run([]() -> Task<> {
      ForkExecutor executor(1);
      const int value = co_await executor.submit(&square, 2);
      support::require(value == 4, "a first task");
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = 20;
      ::setrlimit(RLIMIT_NOFILE, &limit);
      std::vector<int> taken;
      for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) taken.push_back(fd);
      const std::string what = co_await thrown_by<std::system_error>(executor.submit(&square, 2));
      support::require(contains(what, "Too many open files"), what);
      auto stream = executor.map(&square, std::vector<int>{1, 2, 3});
      const std::string broken = co_await thrown_by_next<cofork::BrokenProcessPool>(stream);
      support::require(contains(broken, "Too many open files"), broken);
      for (const int fd : taken) ::close(fd);
      const int again = co_await executor.submit(&square, 3);
      support::require(again == 9, "a task after that");
    });
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("ForkExecutor: a child that sends garbage costs its own task") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto garbage = [](std::size_t size) {
      for (int fd = 3; fd < 64; ++fd) {
        const std::vector<char> bytes(size, '\xee');
        ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      }
      return 1;
    };
    for (const std::size_t size : {1u, 15u, 16u, 17u, 4000u}) {
      const std::string what = co_await thrown_by<cofork::DecodeError>(executor.submit(garbage, size));
      INFO(what);
      CHECK(contains(what, " message: "));
    }
    auto end_of_a_stream = [] {
      struct {
        cofork::detail::MessageHeader header{.size = 1};
        cofork::detail::ForkedMessage kind = cofork::detail::ForkedMessage::end;
      } message;
      for (int fd = 3; fd < 64; ++fd)
        ::send(fd, &message, sizeof message.header + sizeof message.kind, MSG_NOSIGNAL | MSG_DONTWAIT);
      return std::string("not this");
    };
    const std::string what = co_await thrown_by<cofork::DecodeError>(executor.submit(end_of_a_stream));
    CHECK(contains(what, "malformed message: "));
    const int value = co_await executor.submit(&square, 3);
    CHECK(value == 9);
  });
}

TEST_CASE("ForkExecutor: shutdown waits for what was accepted, or cancels what waits") {
  cofork::run([]() -> Task<> {
    Shared shared;
    {
      ForkExecutor executor(1);
      Future<int> first = executor.submit(&square, 2);
      Future<int> second = executor.submit(&square, 3);
      co_await executor.shutdown();
      CHECK(first.result() == 4);
      CHECK(second.result() == 9);
      CHECK(children() == 0);
    }
    ForkExecutor executor(1);
    Future<int> first = executor.submit([] { return wait_at_gate(0, 1); });
    Future<int> second = executor.submit(&square, 3);
    auto ended = executor.shutdown({.cancel_futures = true});
    CHECK(second.cancelled());
    CHECK_FALSE(first.done());
    shared[1] = 1;
    co_await std::move(ended);
    CHECK(first.result() == 0);
  });
}

TEST_CASE("ForkExecutor: its end cancels what runs and what waits, and leaves no process") {
  cofork::run([]() -> Task<> {
    Shared shared;
    std::vector<Future<int>> futures;
    {
      ForkExecutor executor(2);
      for (int i = 0; i < 5; ++i) futures.push_back(executor.submit(&never_end, i));
    }
    CHECK(children() == 0);
    for (Future<int>& future : futures) CHECK(future.cancelled());
    co_return;
  });
}

TEST_CASE("ForkExecutor: the end of run closes one that is open") {
  ForkExecutor executor(2);
  Shared shared;
  cofork::run([&]() -> Task<> {
    static_cast<void>(executor.submit(&never_end, 0));
    static_cast<void>(executor.submit([] { return wait_at_gate(1, 2); }));
    static_cast<void>(executor.map(&square, std::vector<int>(10, 1)));
    co_return;
  });
  CHECK(children() == 0);
}

TEST_CASE("ForkExecutor: a child does not outlive its parent") {
  Shared shared;
  const auto child = support::in_child([&] {
    cofork::run([&]() -> Task<> {
      ForkExecutor executor(1);
      auto forever = [&](int place) {
        shared[static_cast<std::size_t>(place)] = ::getpid();
        for (;;) pause_for(1h);
      };
      auto first = executor.submit(forever, 0);
      auto second = executor.submit(forever, 1);
      auto stream = executor.map(forever, std::vector<int>{2});
      const bool begun = co_await until([&] { return shared[0] != 0 && shared[2] != 0; });
      support::require(begun, "the children began");
      ::raise(SIGKILL);
    });
  });
  CHECK(child.signal == SIGKILL);
  CHECK(support::eventually([&] { return !support::is_running(shared[0]) && !support::is_running(shared[2]); }));
}
