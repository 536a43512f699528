#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cstdlib>
#include <optional>
#include <thread>
#include <vector>

#include "executors/process_harness.hpp"
#include "support/sanitizers.hpp"

using namespace process_test;
using namespace std::chrono_literals;
using cofork::Process;
using cofork::Task;

namespace {

bool is_readable(int descriptor) {
  pollfd watched = {descriptor, POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1;
}

std::size_t active() { return cofork::active_children().size(); }

}  // namespace

TEST_CASE("join without a loop waits for the end, or until the time is over") {
  OpenPipe pipe;
  Process process([&] { pipe.read(1); });
  process.start();
  CHECK(process.is_alive());
  CHECK_FALSE(process.blocking_join(0s));
  CHECK_FALSE(process.blocking_join(-1s));
  const auto begun = std::chrono::steady_clock::now();
  CHECK_FALSE(process.blocking_join(20ms));
  CHECK(std::chrono::steady_clock::now() - begun >= 20ms);
  CHECK_FALSE(process.exitcode().has_value());
  pipe.write("x");
  CHECK(process.blocking_join());
  CHECK(process.blocking_join());
  CHECK(process.blocking_join(0s));
  CHECK_FALSE(process.is_alive());
  CHECK(process.exitcode() == 0);
}

TEST_CASE("join on a loop waits for the end, or until the time is over") {
  OpenPipe pipe;
  const auto joining = [&]() -> Task<> {
    Process process([&] { pipe.read(1); });
    process.start();
    bool ended = co_await process.join(0s);
    CHECK_FALSE(ended);
    ended = co_await process.join(-1s);
    CHECK_FALSE(ended);
    const auto begun = std::chrono::steady_clock::now();
    ended = co_await process.join(20ms);
    CHECK_FALSE(ended);
    CHECK(std::chrono::steady_clock::now() - begun >= 20ms);
    pipe.write("x");
    ended = co_await process.join(1h);
    CHECK(ended);
    ended = co_await process.join();
    CHECK(ended);
    CHECK(process.exitcode() == 0);
  };
  cofork::run(joining);
}

TEST_CASE("several coroutines join a process, and one that is cancelled leaves the others and the process alone") {
  OpenPipe pipe;
  const auto joining = [&]() -> Task<> {
    Process process([&] { pipe.read(1); });
    process.start();
    auto first = cofork::spawn(process.join());
    auto second = cofork::spawn(process.join());
    auto third = cofork::spawn(process.join(1h));
    co_await cofork::yield_now();
    second.cancel();
    bool cancelled = false;
    try {
      co_await second;
    } catch (const cofork::CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
    CHECK(process.is_alive());
    bool timed_out = false;
    try {
      co_await cofork::wait_for(process.join(), 5ms);
    } catch (const cofork::TimeoutError&) {
      timed_out = true;
    }
    CHECK(timed_out);
    pipe.write("x");
    const bool first_ended = co_await first;
    const bool third_ended = co_await third;
    CHECK(first_ended);
    CHECK(third_ended);
  };
  cofork::run(joining);
}

TEST_CASE("a join goes on when the process object is moved") {
  OpenPipe pipe;
  const auto joining = [&]() -> Task<> {
    std::optional<Process> process(std::in_place, [&] { pipe.read(1); });
    process->start();
    auto joined = cofork::spawn(process->join());
    co_await cofork::yield_now();
    Process moved = std::move(*process);
    process.reset();
    pipe.write("x");
    const bool ended = co_await joined;
    CHECK(ended);
    CHECK(moved.exitcode() == 0);
  };
  cofork::run(joining);
}

TEST_CASE("the sentinel is readable from the end of the process on") {
  OpenPipe pipe;
  Process process([&] { pipe.read(1); });
  process.start();
  CHECK_FALSE(is_readable(process.sentinel()));
  pipe.write("x");
  pollfd watched = {process.sentinel(), POLLIN, 0};
  CHECK(::poll(&watched, 1, 30'000) == 1);
  process.blocking_join();
  CHECK(is_readable(process.sentinel()));
}

TEST_CASE("terminate, kill, interrupt and send_signal end a process, and do nothing to an ended one") {
  const auto ended_by = [](auto send) {
    Process process(wait_for_ever);
    process.start();
    send(process);
    process.blocking_join();
    send(process);
    return process.exitcode().value();
  };
  CHECK(ended_by([](Process& process) { process.terminate(); }) == -SIGTERM);
  CHECK(ended_by([](Process& process) { process.kill(); }) == -SIGKILL);
  CHECK(ended_by([](Process& process) { process.interrupt(); }) == -SIGINT);
  CHECK(ended_by([](Process& process) { process.send_signal(SIGUSR2); }) == -SIGUSR2);
}

TEST_CASE("interrupt cancels a target that runs on a loop") {
  const auto outcome = support::in_child([] {
    OpenPipe pipe;
    Process process({.name = "task"}, [&]() -> Task<> {
      auto signal_is_handled = [&]() -> Task<> {
        pipe.write("x");
        co_await cofork::sleep(1h);
      };
      co_await signal_is_handled();
    });
    process.start();
    pipe.read(1);
    process.interrupt();
    process.blocking_join();
    support::require(process.exitcode() == 1, "exitcode");
  });
  CHECK(outcome.succeeded());
  CHECK(outcome.output == "Process task: cofork::KeyboardInterrupt: interrupted by SIGINT\n");
}

TEST_CASE("interrupt cancels a target that runs on a loop, where its parent runs one, too") {
  cofork::run([]() -> Task<> {
    OpenPipe pipe;
    Shared<std::atomic<bool>> cancelled;
    Process process([&]() -> Task<> {
      pipe.write("x");
      try {
        co_await cofork::sleep(1h);
      } catch (const cofork::CancelledError&) {
        *cancelled = true;
      }
    });
    process.start();
    pipe.read(1);
    process.interrupt();
    co_await process.join();
    CHECK(*cancelled);
    CHECK(process.exitcode() == 0);
  });
}

TEST_CASE("a child may handle SIGTERM") {
  OpenPipe pipe;
  Process process([&] {
    ::signal(SIGTERM, [](int) { ::_exit(5); });
    pipe.write("x");
    wait_for_ever();
  });
  process.start();
  pipe.read(1);
  process.terminate();
  process.blocking_join();
  CHECK(process.exitcode() == 5);
}

TEST_CASE("a wait is not disturbed by signals") {
  const auto outcome = support::in_child([] {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval often = {{0, 2000}, {0, 2000}};
    OpenPipe go;
    Process process([&] {
      go.read(1);
      ::usleep(20000);
    });
    process.start();
    ::setitimer(ITIMER_REAL, &often, nullptr);
    support::require(!process.blocking_join(30ms), "still running");
    go.write("x");
    support::require(process.blocking_join(), "ended");
    support::require(process.exitcode() == 0, "exitcode");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("a process that somebody else has reaped has ended with 255") {
  Process process([] { std::exit(3); });
  process.start();
  CHECK(::waitpid(process.pid(), nullptr, 0) == process.pid());
  CHECK(process.blocking_join());
  CHECK(process.exitcode() == 255);
  process.terminate();
  CHECK_FALSE(process.is_alive());
}

TEST_CASE("processes start and end while SIGCHLD is ignored") {
  const auto outcome = support::in_child([] {
    ::signal(SIGCHLD, SIG_IGN);
    for (int index = 0; index < 50; ++index) {
      Process process([] {});
      process.start();
      support::require(process.blocking_join(), "join");
      support::require(process.exitcode() == 255, "exitcode");
      process.kill();
    }
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("active_children lists the running ones in the order of their start, and reaps the others") {
  OpenPipe pipe;
  CHECK(active() == 0);
  Process first({.name = "first"}, [&] { pipe.read(1); });
  Process second({.name = "second"}, wait_for_ever);
  CHECK(active() == 0);
  first.start();
  second.start();
  second.set_name("renamed");
  const auto children = cofork::active_children();
  REQUIRE(children.size() == 2);
  CHECK(children[0].name == "first");
  CHECK(children[0].pid == first.pid());
  CHECK(children[1].name == "renamed");
  CHECK(children[1].pid == second.pid());

  pipe.write("x");
  pollfd watched = {first.sentinel(), POLLIN, 0};
  CHECK(::poll(&watched, 1, 30'000) == 1);
  CHECK(active() == 1);
  CHECK(::waitpid(first.pid(), nullptr, WNOHANG) == -1);
  CHECK(first.exitcode() == 0);
  second.kill();
  second.blocking_join();
  CHECK(active() == 0);
}

TEST_CASE("a process goes on without its object, and is reaped when it has ended") {
  OpenPipe pipe;
  {
    Process process([&] { pipe.read(1); });
    process.start();
  }
  CHECK(active() == 1);
  pipe.write("x");
  CHECK(support::eventually([] { return active() == 0; }));

  pid_t pid = 0;
  {
    Process process([] {});
    process.start();
    pid = process.pid();
  }
  siginfo_t ended = {};
  CHECK(::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT) == 0);
  CHECK(exitcode_of_target([] {}) == 0);  // starting another one reaps it
  CHECK(::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT) == -1);
}

TEST_CASE("many processes run at once and are all joined") {
  const std::size_t count = 100 / support::slowdown;
  std::vector<Process> processes;
  OpenPipe pipe;
  for (std::size_t index = 0; index < count; ++index) {
    processes.emplace_back([&pipe, index] {
      pipe.read(1);
      std::exit(static_cast<int>(index));
    });
    processes.back().start();
  }
  CHECK(active() == count);
  pipe.write(std::string(count, 'x'));
  const auto join_all = [&]() -> Task<std::size_t> {
    std::vector<Task<bool>> joins;
    for (Process& process : processes) joins.push_back(process.join());
    const std::vector<bool> ended = co_await cofork::gather(std::move(joins));
    co_return static_cast<std::size_t>(std::count(ended.begin(), ended.end(), true));
  };
  CHECK(cofork::run(join_all) == count);
  for (std::size_t index = 0; index < count; ++index) CHECK(processes[index].exitcode() == static_cast<int>(index));

  for (Process& process : processes) {
    process = Process(wait_for_ever);
    process.start();
  }
  for (Process& process : processes) process.kill();
  for (Process& process : processes) {
    process.blocking_join();
    CHECK(process.exitcode() == -SIGKILL);
  }
}

TEST_CASE("threads start and join processes at the same time", "[threads]") {
  if (support::forks_with_locked_memory()) return;
  std::vector<std::thread> threads;
  std::atomic<int> sum = 0;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&sum] {
      for (int index = 0; index < 20 / support::slowdown; ++index) {
        Process process([] { ::_exit(3); });
        process.start();
        cofork::active_children();
        process.blocking_join();
        sum += process.exitcode().value();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(sum == 3 * 4 * (20 / support::slowdown));
}
