// What a forked task tells of itself, of what it throws and of how it dies; and what dies with whom.
#include <sys/wait.h>

#include <cofork/executors/process_table.hpp>
#include <cofork/executors/remote_info.hpp>
#include <thread>

#include "executors/fork_harness.hpp"

using namespace fork_test;
using cofork::ForkExecutor;
using cofork::Future;
using cofork::remote_info;
using cofork::Task;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool traced = false;
#elif defined(__has_feature)
constexpr bool traced = !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer));
#else
constexpr bool traced = true;
#endif

[[gnu::noinline]] int throw_deep_inside(int depth) {
  if (depth == 0) throw std::out_of_range("deep inside");
  const int result = throw_deep_inside(depth - 1);
  asm volatile("" : : "r"(result));
  return result + 1;
}
[[gnu::noinline]] void write_to_nowhere() {
  volatile std::uintptr_t nowhere = 16;
  *reinterpret_cast<volatile int*>(nowhere) = 1;
}

template <class T>
Task<std::exception_ptr> error_of_future(Future<T> future) {
  const bool done = co_await until([&] { return future.done(); }, 120s);
  REQUIRE(done);
  co_return future.exception();
}

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& exception) {
    return exception.what();
  }
}

cofork::Stream<int> one_and_an_error() {
  co_yield 1;
  throw_deep_inside(2);
}

/// Forks a process that waits for ever, in this process's group.
void fork_another(std::size_t place) {
  if (::fork() == 0) {
    Shared::at(place) = ::getpid();
    for (;;) ::pause();
  }
}

/// Ends by SIGKILL when a task on its own ForkExecutor has started a process and a program.
void start_and_be_killed() {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto forever = [] {
      Shared::at(0) = ::getpid();
      fork_another(1);
      const pid_t program = ::fork();
      if (program == 0) {
        Shared::at(2) = ::getpid();
        ::execlp("sleep", "sleep", "3600", nullptr);
        ::_exit(127);
      }
      for (;;) ::pause();
    };
    const auto future = executor.submit(forever);
    const bool begun = co_await until([] { return Shared::at(1) != 0 && Shared::at(2) != 0; });
    support::require(begun, "the task began");
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  });
}

void check_all_end(const support::ChildOutcome& parent) {
  INFO(parent.output);
  CHECK(parent.signal == SIGKILL);
  for (std::size_t place = 0; place < 3; ++place) {
    INFO(place);
    CHECK(support::eventually([&] { return !support::is_running(Shared::at(place)); }));
  }
}

}  // namespace

TEST_CASE("ForkExecutor: what a task throws tells its process, its name and where it was thrown") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    Shared shared;
    auto throws = [](int depth) {
      Shared::at(0) = ::getpid();
      return throw_deep_inside(depth);
    };
    const std::exception_ptr thrown = co_await error_of_future(executor.submit({.name = "page 7"}, throws, 3));
    CHECK(typeid(std::out_of_range) == *thrown.__cxa_exception_type());
    CHECK(remote_info(thrown).pid == shared[0]);
    CHECK(remote_info(thrown).task_name == "page 7");
    const std::string backtrace = remote_info(thrown).backtrace;
    INFO(backtrace);
    CHECK(contains(backtrace, "throw_deep_inside(int)") == traced);
    CHECK_FALSE(contains(backtrace, "run_in_child"));

    const std::exception_ptr late =
        co_await error_of_future(executor.submit({.timeout = 30ms, .name = "slow"}, &never_end, 1));
    CHECK(contains(text_of(late), "slow exceeded its timeout"));
    CHECK(remote_info(late).task_name == "slow");
    CHECK(remote_info(late).pid > 0);

    cofork::Stream<int> stream = executor.submit({.name = "a stream"}, &one_and_an_error);
    const std::optional<int> first = co_await stream.next();
    CHECK(first == 1);
    std::exception_ptr of_stream;
    try {
      co_await stream.next();
    } catch (const std::out_of_range&) {
      of_stream = std::current_exception();
    }
    REQUIRE(of_stream);
    CHECK(remote_info(of_stream).task_name == "a stream");
    CHECK(contains(remote_info(of_stream).backtrace, "throw_deep_inside(int)") == traced);
  });
}

TEST_CASE("ForkExecutor: a task that crashes tells where, and one that used up its processor time that",
          "[limit:180]") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(2);
    const std::exception_ptr crashed = co_await error_of_future(
        executor.submit({.name = "wild", .memory_limit = std::size_t{1} << 30}, &write_to_nowhere));
    CHECK(remote_info(crashed).task_name == "wild");
    CHECK(contains(text_of(crashed), "with a memory_limit of 1073741824 bytes"));
    if (traced) {
      INFO(text_of(crashed));
      CHECK(contains(text_of(crashed),
                     "was killed by SIGSEGV at address 0x10 (nothing is mapped there) while it executed wild"));
      CHECK(contains(remote_info(crashed).backtrace, "write_to_nowhere()"));
    }
    auto busy = [] {
      for (unsigned count = 0;; ++count) asm volatile("" : : "r"(count));
    };
    const std::exception_ptr late =
        co_await error_of_future(executor.submit({.name = "busy", .cpu_limit = std::chrono::seconds(1)}, busy));
    CHECK(contains(text_of(late), "was killed by SIGXCPU while it executed busy: its cpu_limit of 1 s was used up"));
  });
}

TEST_CASE("ForkExecutor: a task is named as a pool's worker is, and its parent is who forked it") {
  cofork::run([]() -> Task<> {
    ForkExecutor executor(1);
    auto own_names = [] {
      const auto parent = cofork::parent_process();
      return std::pair(cofork::current_process().name, parent ? parent->name + ' ' + std::to_string(parent->pid) : "");
    };
    const auto first = co_await executor.submit(own_names);
    CHECK(first.first == "ForkPoolWorker-1");
    CHECK(first.second == cofork::current_process().name + ' ' + std::to_string(::getpid()));
    auto nested = [own_names] {
      return cofork::run([](auto names) -> Task<std::pair<std::string, std::string>> {
        ForkExecutor inner(1);
        auto result = co_await inner.submit(names);
        result.second = result.second.substr(0, result.second.find(' '));
        co_return result;
      }(own_names));
    };
    const auto second = co_await executor.submit(nested);
    CHECK(second.first == "ForkPoolWorker-2:1");
    CHECK(second.second == "ForkPoolWorker-2");
  });
}

TEST_CASE("ForkExecutor: what a task has started ends when its parent is killed") {
  Shared shared;
  check_all_end(support::in_child(&start_and_be_killed));
}

TEST_CASE("ForkExecutor: what a task of another thread has started ends when the process is killed") {
  Shared shared;
  check_all_end(support::in_child([] { std::thread(&start_and_be_killed).join(); }));
}
