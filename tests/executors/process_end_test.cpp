#include <signal.h>

#include <chrono>
#include <cofork/runtime/sleep.hpp>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <thread>

#include "executors/process_harness.hpp"

using namespace process_test;
using namespace std::chrono_literals;
using cofork::Process;
using cofork::Task;

namespace {

void start_and_forget(Process process) { process.start(); }

}  // namespace

TEST_CASE("the end of a run joins the processes that were started in it, but not daemonic and earlier ones") {
  OpenPipe earlier_pipe, pipe;
  Shared<std::atomic<bool>> ended;
  Process earlier([&] { earlier_pipe.read(1); });
  earlier.start();
  Process daemon({.daemon = true}, wait_for_ever);
  const auto starting = [&]() -> Task<> {
    start_and_forget(Process([&] {
      pipe.read(1);
      *ended = true;
    }));
    daemon.start();
    pipe.write("x");
    co_return;
  };
  cofork::run(starting);
  CHECK(*ended);
  CHECK(earlier.is_alive());
  CHECK(daemon.is_alive());
  CHECK(cofork::active_children().size() == 2);
  earlier_pipe.write("x");
  earlier.blocking_join();
  daemon.kill();
  daemon.blocking_join();
}

TEST_CASE("the end of a run joins its processes also when its main has failed") {
  Shared<std::atomic<bool>> ended;
  const auto failing = [&]() -> Task<> {
    start_and_forget(Process([&] {
      ::usleep(20000);
      *ended = true;
    }));
    co_await cofork::sleep(1ms);
    throw std::runtime_error("main");
  };
  CHECK_THROWS_AS(cofork::run(failing), std::runtime_error);
  CHECK(*ended);
}

TEST_CASE("a process joins its children at its end, and terminates daemonic ones first") {
  const auto end_with = [](void (*end)()) {
    Shared<std::atomic<bool>> joined;
    Shared<std::atomic<int>> terminated;
    OpenPipe ready;
    const auto begun = std::chrono::steady_clock::now();
    Process process([&, end] {
      static std::atomic<int>* signals;
      signals = &*terminated;
      OpenPipe daemon_lives;
      start_and_forget(Process({.daemon = true}, [&] {
        ::signal(SIGTERM, [](int) {
          ++*signals;
          ::_exit(0);
        });
        ready.write("x");
        wait_for_ever();
      }));
      daemon_lives.writer.reset();
      start_and_forget(Process([&] {
        daemon_lives.read(1);
        *joined = true;
      }));
      ready.read(1);
      end();
    });
    CHECK(exitcode_of(process) == 0);
    // It is killed if it has no turn within a second.
    if (std::chrono::steady_clock::now() - begun < 1s) CHECK(*terminated == 1);
    CHECK(*terminated <= 1);
    CHECK(*joined);
  };
  end_with([] {});
  end_with([] { std::exit(0); });
}

TEST_CASE("a process that fails joins its children, too") {
  Shared<std::atomic<bool>> joined;
  const auto outcome = support::in_child([&] {
    const int status = exitcode_of_target([&] {
      start_and_forget(Process([&] {
        ::usleep(20000);
        *joined = true;
      }));
      throw std::runtime_error("failed");
    });
    support::require(status == 1, "status");
  });
  CHECK(outcome.succeeded());
  CHECK(*joined);
}

TEST_CASE("a daemonic child that ignores SIGTERM is killed after a second") {
  OpenPipe ready;
  Shared<std::atomic<pid_t>> pid;
  const auto begun = std::chrono::steady_clock::now();
  const int status = exitcode_of_target([&] {
    start_and_forget(Process({.daemon = true}, [&] {
      ::signal(SIGTERM, SIG_IGN);
      *pid = ::getpid();
      ready.write("x");
      wait_for_ever();
    }));
    ready.read(1);
  });
  CHECK(status == 0);
  CHECK(std::chrono::steady_clock::now() - begun >= 1s);
  CHECK_FALSE(support::is_running(*pid));
}

TEST_CASE("a daemonic process cannot start processes") {
  Process process({.daemon = true}, [] {
    Process child([] {});
    try {
      child.start();
      std::exit(1);
    } catch (const std::logic_error&) {
      std::exit(0);
    }
  });
  CHECK(process.daemon());
  CHECK(exitcode_of(process) == 0);
  Process other([] {});
  CHECK_FALSE(other.daemon());
  other.set_daemon(true);
  CHECK(other.daemon());
  CHECK(exitcode_of(other) == 0);
}

TEST_CASE("what a parent has printed comes before what children print while it waits for them at its end") {
  const auto outcome = support::in_child([] {
    const int status = exitcode_of_target([] {
      OpenPipe parent_at_its_end;
      // It lives, and has the pipe open, until its parent is at its end and terminates it.
      start_and_forget(Process({.daemon = true}, wait_for_ever));
      parent_at_its_end.writer.reset();
      start_and_forget(Process([&] {
        parent_at_its_end.read(1);
        std::printf("child\n");
      }));
      std::printf("parent\n");
    });
    support::require(status == 0, "status");
  });
  CHECK(outcome.output == "parent\nchild\n");
}

TEST_CASE("processes that start processes: a tree of them") {
  Shared<std::atomic<int>> count;
  struct Tree {
    static void grow(std::atomic<int>* counter, int depth) {
      ++*counter;
      if (depth == 0) return;
      Process left(grow, counter, depth - 1);
      Process right(grow, counter, depth - 1);
      left.start();
      right.start();
      left.blocking_join();
      right.blocking_join();
    }
  };
  CHECK(exitcode_of_target(Tree::grow, &*count, 3) == 0);
  CHECK(*count == 15);
}

TEST_CASE("a process that a thread has started outlives the thread, but not the program") {
  Shared<std::atomic<pid_t>> pid;
  OpenPipe go;
  const auto outcome = support::in_child([&] {
    std::optional<Process> process;
    std::thread([&] {
      process.emplace([&] {
        go.read(1);
        std::exit(3);
      });
      process->start();
    }).join();
    support::require(!process->blocking_join(50ms), "it goes on");
    go.write("x");
    process->blocking_join();
    support::require(process->exitcode() == 3, "exitcode");

    std::thread([&] {
      process.emplace(wait_for_ever);
      process->start();
      *pid = process->pid();
    }).join();
    ::raise(SIGKILL);
  });
  CHECK(outcome.signal == SIGKILL);
  REQUIRE(*pid > 0);
  CHECK(support::eventually([&] { return !support::is_running(*pid); }));
}

TEST_CASE("no descendant outlives a process that is killed") {
  Shared<std::array<std::atomic<pid_t>, 4>> pids;
  const auto outcome = support::in_child([&] {
    OpenPipe started;
    Process child([&] {
      (*pids)[0] = ::getpid();
      Process grandchild([&] {
        (*pids)[1] = ::getpid();
        started.write("x");
        wait_for_ever();
      });
      grandchild.start();
      wait_for_ever();
    });
    child.start();
    Process daemon({.daemon = true}, [&] {
      (*pids)[2] = ::getpid();
      ::signal(SIGTERM, SIG_IGN);
      started.write("x");
      wait_for_ever();
    });
    daemon.start();
    std::optional<Process> of_thread;
    std::thread([&] {
      of_thread.emplace([&] {
        (*pids)[3] = ::getpid();
        Process grandchild(wait_for_ever);
        grandchild.start();
        started.write("x");
        wait_for_ever();
      });
      of_thread->start();
    }).join();
    started.read(3);
    ::raise(SIGKILL);
  });
  CHECK(outcome.signal == SIGKILL);
  for (const std::atomic<pid_t>& pid : *pids) {
    REQUIRE(pid > 0);
    CHECK(support::eventually([&] { return !support::is_running(pid); }));
  }
}

TEST_CASE("what a child registers by atexit runs after its target, and what its parent registered does not") {
  const auto outcome = support::in_child([] {
    static OpenPipe pipe;
    static bool in_parent = true;
    std::atexit([] { pipe.write(in_parent ? "" : "parent's "); });
    Process process([] {
      in_parent = false;
      static const struct Last {
        ~Last() { pipe.write("object"); }
      } last;
      std::atexit([] { pipe.write("handler, "); });
    });
    process.start();
    process.blocking_join();
    pipe.writer.reset();
    support::require(process.exitcode() == 0, "the exit code");
    support::require(pipe.read(100) == "handler, object", "what ran");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}
