#include <cofork/ipc/queue.hpp>
#include <memory>
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

TEST_CASE("ForkExecutor: files that a program started by exec would have are open in the children") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    std::FILE* const file = std::tmpfile();
    std::fputs("text", file);
    const long size = co_await executor.submit([&] { return std::ftell(file); });
    CHECK(size == 4);
    auto numbers = executor.map([&](int) { return ::fcntl(::fileno(file), F_GETFD); }, std::vector<int>{1});
    const std::vector<int> flags = co_await std::move(numbers);
    CHECK(flags == std::vector<int>{0});
    std::fclose(file);
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

TEST_CASE("ForkExecutor: says once that there are other threads", "[threads]") {
  if (support::thread_sanitizer) return;
  const auto child = support::in_child([] {
    std::atomic<bool> begun = false, stop = false;
    std::thread other([&] {
      begun = true;
      while (!stop) pause_for(1ms);
    });
    // Before that it may hold a lock of the sanitizer's allocator, which with g++ 12 would be locked in forked
    // processes.
    while (!begun) pause_for(1ms);
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
