#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/to_thread.hpp>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <vector>

#include "executors/process_harness.hpp"

using namespace process_test;
using namespace std::chrono_literals;
using cofork::Process;
using cofork::Task;

namespace {

struct Counter {
  int value = 0;
  void add(int more) { value += more; }
  void exit_with(int more) { std::exit(value + more); }
};

void free_function(int a, const std::string& b) { std::exit(a + static_cast<int>(b.size())); }

Task<> sleep_and_exit(int status) {
  co_await cofork::sleep(1ms);
  std::exit(status);
}

Task<int> returns_a_number() { co_return 7; }

struct NotAnException {};

}  // namespace

TEST_CASE("a process runs its target with its arguments") {
  CHECK(exitcode_of_target(free_function, 3, std::string("four")) == 7);
  CHECK(exitcode_of_target([](int a, double b) { std::exit(a + static_cast<int>(b)); }, 3, 2.5) == 5);
  CHECK(exitcode_of_target(&Counter::exit_with, Counter{5}, 6) == 11);
  Counter counter{5};
  CHECK(exitcode_of_target(&Counter::exit_with, std::ref(counter), 7) == 12);
  CHECK(exitcode_of_target(std::bind(free_function, 1, "two")) == 4);
}

TEST_CASE("a target and its arguments may be move-only, and are passed as rvalues") {
  auto captured = std::make_unique<int>(3);
  const int status = exitcode_of_target(
      [captured = std::move(captured)](std::unique_ptr<int> argument) { std::exit(*captured + *argument); },
      std::make_unique<int>(4));
  CHECK(status == 7);
  std::vector<std::unique_ptr<int>> many;
  many.push_back(std::make_unique<int>(5));
  CHECK(exitcode_of_target([](std::vector<std::unique_ptr<int>> values) { std::exit(*values.at(0)); },
                           std::move(many)) == 5);
}

TEST_CASE("a child sees the memory as it was at its start, and changes its own") {
  int value = 1;
  std::vector<int> numbers = {1, 2, 3};
  Process process([&] {
    if (value != 2 || numbers.size() != 4) std::exit(1);
    value = 5;
    numbers.clear();
  });
  value = 2;
  numbers.push_back(4);
  CHECK(exitcode_of(process) == 0);
  CHECK(value == 2);
  CHECK(numbers.size() == 4);
}

TEST_CASE("the parent's target is destroyed when the child was started") {
  auto captured = std::make_shared<int>(1);
  Process process([captured] { std::exit(*captured); });
  CHECK(captured.use_count() == 2);
  process.start();
  CHECK(captured.use_count() == 1);
  process.blocking_join();
  CHECK(process.exitcode() == 1);
}

TEST_CASE("the exitcode tells how a process ended") {
  CHECK(exitcode_of_target([] {}) == 0);
  CHECK(exitcode_of_target([] { return 5; }) == 0);
  CHECK(exitcode_of_target([] { std::exit(0); }) == 0);
  CHECK(exitcode_of_target([] { std::exit(7); }) == 7);
  CHECK(exitcode_of_target([] { std::exit(256); }) == 0);
  CHECK(exitcode_of_target([] { std::exit(-1); }) == 255);
  CHECK(exitcode_of_target([] { std::exit(300); }) == 44);
  CHECK(exitcode_of_target([] { std::quick_exit(8); }) == 8);
  CHECK(exitcode_of_target([] { ::_exit(9); }) == 9);
  CHECK(exitcode_of_target([] { ::raise(SIGKILL); }) == -SIGKILL);
  CHECK(exitcode_of_target([] { ::raise(SIGUSR1); }) == -SIGUSR1);
  CHECK(exitcode_of_target([] {
          const rlimit no_core = {0, 0};
          ::setrlimit(RLIMIT_CORE, &no_core);
          ::signal(SIGABRT, SIG_DFL);
          std::abort();
        }) == -SIGABRT);
}

TEST_CASE("a process without a target ends with status 0") {
  Process process;
  CHECK(exitcode_of(process) == 0);
}

TEST_CASE("an exception that leaves the target is printed with the process's name, and gives status 1") {
  const auto outcome = support::in_child([] {
    Process named({.name = "Worker-1"}, [] { throw std::runtime_error("no such thing"); });
    support::require(exitcode_of(named) == 1, "a standard exception");
    Process other([] { throw NotAnException(); });
    other.set_name("other");
    support::require(exitcode_of(other) == 1, "not an exception");
    Process task({.name = "task"}, []() -> Task<> {
      co_await cofork::sleep(1ms);
      throw std::out_of_range("in a task");
    });
    support::require(exitcode_of(task) == 1, "in a task");
  });
  CHECK(outcome.succeeded());
  CHECK(outcome.output.find("Process Worker-1: std::runtime_error: no such thing\n") == 0);
  CHECK(outcome.output.find("Process other: (anonymous namespace)::NotAnException\n") != std::string::npos);
  CHECK(outcome.output.find("Process task: std::out_of_range: in a task\n") != std::string::npos);
}

TEST_CASE("a target that returns an awaitable runs on a loop in the child") {
  CHECK(exitcode_of_target(sleep_and_exit, 3) == 3);
  CHECK(exitcode_of_target(returns_a_number) == 0);
  CHECK(exitcode_of_target([] { return cofork::sleep(1ms); }) == 0);
  const std::string captured = "a text that is too long for the string itself";
  CHECK(exitcode_of_target(
            [captured](std::string argument) -> Task<> {
              co_await cofork::sleep(1ms);
              std::exit(static_cast<int>(captured.size() + argument.size()));
            },
            std::string("four")) == 49);
}

TEST_CASE("a child that was started in a running loop has a loop and threads of its own") {
  const auto start_in_loop = []() -> Task<int> {
    const int from_thread = co_await cofork::to_thread([] { return 1; });
    Process process([from_thread]() -> Task<> {
      co_await cofork::sleep(1ms);
      const int other = co_await cofork::to_thread([] { return 2; });
      std::exit(from_thread + other);
    });
    process.start();
    const bool ended = co_await process.join();
    if (!ended) co_return -1;
    Process without_loop([] { cofork::run(sleep_and_exit(4)); });
    without_loop.start();
    const bool other_ended = co_await without_loop.join();
    if (!other_ended) co_return -1;
    co_return process.exitcode().value() * 10 + without_loop.exitcode().value();
  };
  CHECK(cofork::run(start_in_loop) == 34);
}

TEST_CASE("what is printed around a fork appears once, in order") {
  const auto outcome = support::in_child([] {
    std::printf("parent;");
    std::cout << "stream;";
    exitcode_of_target([] { std::printf("returned;"); });
    exitcode_of_target([] {
      std::cout << "exited;";
      std::exit(0);
    });
    exitcode_of_target([] {
      std::printf("lost;");
      ::_exit(0);
    });
    std::printf("end");
  });
  CHECK(outcome.succeeded());
  CHECK(outcome.output == "parent;stream;returned;exited;end");
}

TEST_CASE("streams that are not synchronised with stdio are flushed, too") {
  const auto outcome = support::in_child([] {
    std::ios::sync_with_stdio(false);
    std::cout << "parent;";
    exitcode_of_target([] { std::cout << "child;"; });
    std::cout << "end" << std::flush;
  });
  CHECK(outcome.succeeded());
  CHECK(outcome.output == "parent;child;end");
}

TEST_CASE("handlers for the exit of a child run in it, and the parent's do not") {
  Shared<std::atomic<int>> count;
  Process process([&] {
    static std::atomic<int>* counter;
    counter = &*count;
    std::atexit([] { *counter += 1; });
    Process grandchild([] { std::exit(0); });
    grandchild.start();
    grandchild.blocking_join();
    std::exit(*counter == 0 ? 0 : 1);
  });
  CHECK(exitcode_of(process) == 0);
  CHECK(*count == 1);
}

TEST_CASE("a child has default signal dispositions, an empty standard input, and its parent's process group") {
  const auto outcome = support::in_child([] {
    ::signal(SIGUSR1, SIG_IGN);
    ::signal(SIGTERM, [](int) {});
    sigset_t blocked;
    ::sigemptyset(&blocked);
    ::sigaddset(&blocked, SIGUSR2);
    ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
    const pid_t group = ::getpgrp();
    const int status = exitcode_of_target([group] {
      sigset_t mask;
      ::sigprocmask(SIG_SETMASK, nullptr, &mask);
      for (int signo = 1; signo < NSIG; ++signo) {
        struct sigaction action = {};
        if (::sigaction(signo, nullptr, &action) == 0 && action.sa_handler != SIG_DFL) std::exit(signo);
        if (::sigismember(&mask, signo) == 1) std::exit(100 + signo);
      }
      char byte = 0;
      if (::read(0, &byte, 1) != 0) std::exit(1);
      if (::getpgrp() != group) std::exit(2);
    });
    support::require(status == 0, "status " + std::to_string(status));
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("start reports that there can be no child, and may be called again") {
  const auto outcome = support::in_child([] {
    Process process([] { std::exit(3); });
    const auto error_of_start = [&] {
      try {
        process.start();
        return 0;
      } catch (const std::system_error& error) {
        return error.code().value();
      }
    };
    if (!support::address_sanitizer) {  // UBSan needs descriptors itself, to look at the exception
      rlimit limit = {};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      const rlimit few = {3, limit.rlim_max};
      ::setrlimit(RLIMIT_NOFILE, &few);
      const int error = error_of_start();
      ::setrlimit(RLIMIT_NOFILE, &limit);
      support::require(error == EMFILE, "without descriptors");
    }

    rlimit limit = {};
    ::getrlimit(RLIMIT_NPROC, &limit);
    if (::getuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return;  // root may have any number of processes
    const rlimit none = {0, limit.rlim_max};
    ::setrlimit(RLIMIT_NPROC, &none);
    support::require(error_of_start() == EAGAIN, "without processes");
    support::require(process.pid() == 0 && !process.is_alive() && cofork::active_children().empty(), "not started");
    ::setrlimit(RLIMIT_NPROC, &limit);
    support::require(exitcode_of(process) == 3, "started");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("a process that has given up its privileges can start children") {
  const auto outcome = support::in_child([] {
    if (::getuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return;
    support::require(exitcode_of_target([] { std::exit(3); }) == 3, "status");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("calls at the wrong moment are logic errors") {
  Process process([] { wait_for_ever(); });
  CHECK_THROWS_AS(process.sentinel(), std::logic_error);
  CHECK_THROWS_AS(process.join(), std::logic_error);
  CHECK_THROWS_AS(process.join(1s), std::logic_error);
  CHECK_THROWS_AS(process.blocking_join(), std::logic_error);
  CHECK_THROWS_AS(process.terminate(), std::logic_error);
  CHECK_THROWS_AS(process.kill(), std::logic_error);
  CHECK_THROWS_AS(process.interrupt(), std::logic_error);
  CHECK_THROWS_AS(process.send_signal(SIGUSR1), std::logic_error);
  CHECK(process.pid() == 0);
  CHECK_FALSE(process.is_alive());
  CHECK_FALSE(process.exitcode().has_value());

  process.start();
  CHECK_THROWS_AS(process.start(), std::logic_error);
  CHECK_THROWS_AS(process.set_daemon(true), std::logic_error);
  CHECK_THROWS_AS(process.close(), std::logic_error);
  CHECK_THROWS_AS(process.send_signal(1000), std::system_error);
  CHECK(process.is_alive());
  process.kill();
  process.blocking_join();
  CHECK_THROWS_AS(process.start(), std::logic_error);
}

TEST_CASE("blocking_join on a running loop's thread is a logic error") {
  Process process([] {});
  process.start();
  const auto join_in_loop = [&]() -> Task<> {
    CHECK_THROWS_AS(process.blocking_join(), std::logic_error);
    const bool ended = co_await process.join();
    CHECK(ended);
    CHECK_THROWS_AS(process.blocking_join(), std::logic_error);
  };
  cofork::run(join_in_loop);
  CHECK(process.blocking_join());
}

TEST_CASE("close gives up an ended process") {
  Process process({.name = "closed"}, [] {});
  CHECK(exitcode_of(process) == 0);
  process.close();
  process.close();
  CHECK(process.name() == "closed");
  CHECK_THROWS_AS(process.is_alive(), std::logic_error);
  CHECK_THROWS_AS(process.exitcode(), std::logic_error);
  CHECK_THROWS_AS(process.pid(), std::logic_error);
  CHECK_THROWS_AS(process.sentinel(), std::logic_error);
  CHECK_THROWS_AS(process.join(), std::logic_error);
  CHECK_THROWS_AS(process.blocking_join(), std::logic_error);
  CHECK_THROWS_AS(process.terminate(), std::logic_error);
  CHECK_THROWS_AS(process.start(), std::logic_error);
}

static_assert(std::is_nothrow_move_constructible_v<Process> && std::is_nothrow_move_assignable_v<Process>);
static_assert(!std::is_copy_constructible_v<Process>);

TEST_CASE("a process may be moved, also while it runs, and leaves an empty one") {
  Process process(
      {.name = "moved"}, [](int status) { std::exit(status); }, 4);
  Process other = std::move(process);
  CHECK(other.name() == "moved");
  CHECK_THROWS_AS(process.start(), std::logic_error);
  CHECK_THROWS_AS(process.is_alive(), std::logic_error);
  other.start();
  const pid_t pid = other.pid();
  process = std::move(other);
  CHECK(process.pid() == pid);
  CHECK_THROWS_AS(other.join(), std::logic_error);
  CHECK(process.blocking_join());
  CHECK(process.exitcode() == 4);

  std::vector<Process> many;
  for (int index = 0; index < 5; ++index) {
    many.emplace_back([index] { std::exit(index); });
    many.back().start();
  }
  for (int index = 0; index < 5; ++index) {
    many[static_cast<std::size_t>(index)].blocking_join();
    CHECK(many[static_cast<std::size_t>(index)].exitcode() == index);
  }
}

TEST_CASE("a process object is of no use in a child that has a copy of it") {
  const auto is_refused = [](auto call) {
    try {
      call();
      return false;
    } catch (const std::logic_error&) {
      return true;
    }
  };
  Process running([] { wait_for_ever(); });
  running.start();
  Process ready([] {});
  const int status = exitcode_of_target([&] {
    if (!is_refused([&] { running.is_alive(); })) std::exit(1);
    if (!is_refused([&] { running.kill(); })) std::exit(2);
    if (!is_refused([&] { running.blocking_join(); })) std::exit(3);
    if (!is_refused([&] { ready.start(); })) std::exit(4);
    // Destroying it closes nothing that is open here under the same number.
    const int descriptor = ::dup(2);
    Process(std::move(running));
    if (::fcntl(descriptor, F_GETFD) < 0) std::exit(5);
    if (!cofork::active_children().empty()) std::exit(6);
  });
  CHECK(status == 0);
  running.kill();
  running.blocking_join();
  CHECK(running.exitcode() == -SIGKILL);
}
