#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cofork/ipc/pipe.hpp>
#include <cofork/ipc/queue.hpp>
#include <fstream>
#include <memory>
#include <set>
#include <thread>

#include "executors/fork_harness.hpp"

using namespace fork_test;
using cofork::ForkExecutor;
using cofork::Future;
using cofork::Task;

static_assert(!std::is_move_constructible_v<ForkExecutor>);

TEST_CASE("ForkExecutor: a task sees the caller's memory as of the call, and only its result comes back") {
  cofork::run([]() -> Task<> {
    std::vector<std::string> words{"one", "two", "three"};
    ForkExecutor executor(2);
    Future<std::string> before = executor.submit([&] { return words[1]; });
    words[1] = "changed";
    Future<std::string> after = executor.submit([&] {
      words.push_back("in the child");
      return words[1] + words.back();
    });
    const std::string first = co_await std::move(before);
    const std::string second = co_await std::move(after);
    CHECK(first == "two");
    CHECK(second == "changedin the child");
    CHECK(words.size() == 3);
  });
}

TEST_CASE("ForkExecutor: a task that must wait for its turn still sees the memory of its call") {
  cofork::run([]() -> Task<> {
    Shared shared;
    int value = 1;
    ForkExecutor executor(1);
    Future<int> first = executor.submit([] { return wait_at_gate(0, 1); });
    Future<int> second = executor.submit([&] { return value; });
    value = 2;
    const bool begun = co_await until([&] { return shared[0] == 1; });
    CHECK(begun);
    CHECK(first.running());
    CHECK_FALSE(second.running());
    CHECK(executor.stats().pending == 1);
    CHECK(executor.stats().running == 1);
    shared[1] = 1;
    const int result = co_await std::move(second);
    CHECK(result == 1);
    co_await std::move(first);
  });
}

TEST_CASE("ForkExecutor: arguments need no codec, and neither do captures") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto box = std::make_unique<int>(40);
    auto task = [box = std::move(box)](std::unique_ptr<int> more) { return *box + *more; };
    const int sum = co_await executor.submit(std::move(task), std::make_unique<int>(2));
    CHECK(sum == 42);
    const int squared = co_await executor.submit(&square, 7);
    CHECK(squared == 49);
  });
}

TEST_CASE("ForkExecutor: without retries the callable is destroyed at the call") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto owner = std::make_shared<int>(1);
    auto held = [owner] { return *owner; };
    Future<int> result = executor.submit(std::move(held));
    CHECK(owner.use_count() == 1);
    const int value = co_await std::move(result);
    CHECK(value == 1);
  });
}

TEST_CASE("ForkExecutor: a task that returns a Task runs on a loop in its child") {
  cofork::run([]() -> Task<> {
    int base = 5;
    ForkExecutor executor(1);
    auto coroutine = [&](int more) -> Task<int> {
      co_await cofork::sleep(1ms);
      co_return base + more;
    };
    const int sum = co_await executor.submit(coroutine, 3);
    CHECK(sum == 8);
  });
}

TEST_CASE("ForkExecutor: a task that gives nothing") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    co_await executor.submit([&] { shared[3] = 7; });
    CHECK(shared[3] == 7);
  });
}

TEST_CASE("ForkExecutor: exceptions arrive as themselves") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const std::string own =
        co_await thrown_by<std::out_of_range>(executor.submit([]() -> int { throw std::out_of_range("beyond"); }));
    CHECK(own == "beyond");
    struct Odd {};
    const std::string other = co_await thrown_by<cofork::RemoteError>(executor.submit([] { throw Odd(); }));
    CHECK(contains(other, "Odd"));
  });
}

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
    Future<int> second = executor.submit({.timeout = 2s * support::slowdown}, [] { return 2; });
    co_await cofork::sleep(50ms);
    shared[1] = 1;
    const int value = co_await std::move(second);
    CHECK(value == 2);
    co_await std::move(first);
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
    auto pid = std::make_shared<pid_t>(0);
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
    std::ifstream list("/proc/thread-self/children");
    pid_t one = 0, other = 0;
    list >> one >> other;
    REQUIRE(other != 0);
    ::kill(std::max(one, other), SIGKILL);
    const std::string what = co_await thrown_by<cofork::WorkerDied>(std::move(second));
    CHECK(contains(what, "SIGKILL"));
    shared[1] = 1;
    co_await std::move(first);
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

TEST_CASE("ForkExecutor: priority orders those that wait") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(1);
    Future<int> gate = executor.submit([] { return wait_at_gate(0, 1); });
    auto order = [&] { return ++shared[2]; };
    Future<int> low = executor.submit({.priority = -1}, order);
    Future<int> usual = executor.submit(order);
    Future<int> next = executor.submit(order);
    Future<int> high = executor.submit({.priority = 5}, order);
    shared[1] = 1;
    co_await std::move(gate);
    const int first = co_await std::move(high);
    const int second = co_await std::move(usual);
    const int third = co_await std::move(next);
    const int last = co_await std::move(low);
    CHECK(first == 1);
    CHECK(second == 2);
    CHECK(third == 3);
    CHECK(last == 4);
  });
}

TEST_CASE("ForkExecutor: never more tasks at work than max_workers") {
  cofork::run([]() -> Task<> {
    Shared shared;
    ForkExecutor executor(3);
    CHECK(executor.max_workers() == 3);
    std::vector<Future<void>> all;
    for (int i = 0; i < 30; ++i)
      all.push_back(executor.submit([&] {
        const int now = ++shared[0];
        for (int most = shared[1]; most < now && !shared[1].compare_exchange_weak(most, now);) {
        }
        pause_for(2ms);
        --shared[0];
      }));
    for (Future<void>& each : all) co_await each;
    CHECK(shared[1] <= 3);
    CHECK(shared[1] >= 1);
    CHECK(executor.stats().completed == 30);
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

TEST_CASE("ForkExecutor: a CPU limit ends a task that computes for ever") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto spin = [] {
      for (std::atomic<unsigned> turns = 0;;) ++turns;
    };
    const std::string what = co_await thrown_by<cofork::WorkerDied>(executor.submit({.cpu_limit = 1s}, spin));
    CHECK(contains(what, "SIGXCPU"));
  });
}

TEST_CASE("ForkExecutor: huge results") {
  cofork::run([]() -> Task<> {
    std::vector<std::uint32_t> numbers(32 << 20);
    std::iota(numbers.begin(), numbers.end(), 0u);
    ForkExecutor executor(1);
    const std::vector<std::uint32_t> back = co_await executor.submit([&] { return numbers; });
    CHECK(back == numbers);
  });
}

TEST_CASE("ForkExecutor: handles work in results") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    cofork::ipc::Queue<int> queue = co_await executor.submit([] {
      cofork::ipc::Queue<int> made;
      made.blocking_put(17);
      return made;
    });
    const int value = co_await queue.get();
    CHECK(value == 17);
  });
}

TEST_CASE("ForkExecutor: captured handles work in the child, by value and by reference") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    cofork::ipc::Queue<int> queue;
    co_await executor.submit([&] { queue.blocking_put(1); });
    auto by_value = [queue] { queue.blocking_put(2); };
    co_await executor.submit(std::move(by_value));
    co_await executor.submit([](cofork::ipc::Queue<int> argument) { argument.blocking_put(3); }, queue);
    int sum = 0;
    for (int i = 0; i < 3; ++i) sum += co_await queue.get();
    CHECK(sum == 6);
  });
}

TEST_CASE("ForkExecutor: other descriptors are not there") {
  cofork::run([]() -> Task<> {
    const int open = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ForkExecutor executor(1);
    const int flags = co_await executor.submit([&] { return ::fcntl(open, F_GETFD); });
    CHECK(flags == -1);
    ::close(open);
  });
}

TEST_CASE("ForkExecutor: what a task prints is printed once") {
  const auto child = support::in_child([] {
    std::printf("before ");
    cofork::run([]() -> Task<> {
      ForkExecutor executor(1);
      co_await executor.submit([] { std::printf("inside "); });
    });
    std::printf("after");
  });
  CHECK(child.output == "before inside after");
}

TEST_CASE("ForkExecutor: without a free descriptor there is an error that says so") {
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
    const int value = co_await executor.submit(&square, 3);
    CHECK(value == 9);
  });
}

TEST_CASE("ForkExecutor: a thousand tasks one after the other leave nothing") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    for (int i = 0; i < 1000; ++i) {
      const int value = co_await executor.submit([&] { return i; });
      if (value != i) FAIL(value);
    }
    CHECK(executor.stats().workers == 0);
    CHECK(children() == 0);
  });
}

TEST_CASE("ForkExecutor: misuse") {
  CHECK_THROWS_AS(ForkExecutor(0), std::invalid_argument);
  CHECK(ForkExecutor().max_workers() == cofork::available_parallelism());
  ForkExecutor without_loop(1);
  CHECK_THROWS_AS(without_loop.submit(&square, 1), std::logic_error);
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    CHECK_THROWS_AS(executor.submit({.timeout = -1s}, &square, 1), std::invalid_argument);
    CHECK_THROWS_AS(executor.submit({.grace = -1s}, &square, 1), std::invalid_argument);
    CHECK_THROWS_AS(executor.map({.item_timeout = -1s}, &square, std::vector<int>{1}), std::invalid_argument);
    co_await executor.shutdown();
    CHECK_THROWS_AS(executor.submit(&square, 1), cofork::InvalidStateError);
    CHECK_THROWS_AS(executor.map(&square, std::vector<int>{1}), cofork::InvalidStateError);
    co_await executor.shutdown();
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

TEST_CASE("ForkExecutor: says once that there are other threads", "[threads]") {
  if (support::thread_sanitizer) return;
  const auto child = support::in_child([] {
    std::atomic<bool> stop = false;
    std::thread other([&] {
      while (!stop) pause_for(1ms);
    });
    cofork::run([]() -> Task<> {
      ForkExecutor executor(1);
      for (int i = 0; i < 3; ++i) co_await executor.submit(&square, i);
      auto stream = executor.map(&square, std::vector<int>{1, 2});
      co_await std::move(stream);
    });
    stop = true;
    other.join();
  });
  CHECK(child.succeeded());
  const std::size_t first = child.output.find("threads were running");
  CHECK(first != std::string::npos);
  CHECK(child.output.find("threads were running", first + 1) == std::string::npos);
}

TEST_CASE("fork_call: one submit, in short") {
  std::vector<int> numbers{1, 2, 3};
  auto sum = [&] { return std::accumulate(numbers.begin(), numbers.end(), 0); };
  CHECK(cofork::run(cofork::fork_call(sum)) == 6);
  cofork::run([&]() -> Task<> {
    const int result = co_await cofork::fork_call(sum);
    CHECK(result == 6);
    auto fails = [] { throw std::runtime_error("no"); };
    const std::string what = co_await thrown_by<std::runtime_error>(cofork::fork_call(fails));
    CHECK(what == "no");
    auto slow = [] { pause_for(1h); };
    const std::string late = co_await thrown_by<cofork::TimeoutError>(cofork::wait_for(cofork::fork_call(slow), 50ms));
    CHECK(late != "no error");
    CHECK(children() == 0);
    auto coroutine = [&]() -> Task<std::size_t> { co_return numbers.size(); };
    const std::size_t size = co_await cofork::fork_call(coroutine);
    CHECK(size == 3);
    co_await cofork::fork_call([] {});
  });
}

TEST_CASE("fork_call: a child may fork children of its own") {
  auto recursive = [](auto& self, int depth) -> Task<int> {
    if (depth == 0) co_return 1;
    auto deeper = [&] { return cofork::run(self(self, depth - 1)); };
    const int left = co_await cofork::fork_call(deeper);
    co_return left + 1;
  };
  CHECK(cofork::run(recursive(recursive, 3)) == 4);
}
