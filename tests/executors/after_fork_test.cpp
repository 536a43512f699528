#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cofork/executors/after_fork.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <new>

#include "executors/fork_server_harness.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace fork_server_test;

namespace {

// Shared with every process forked from here.
int& counter() {
  static void* const memory = mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *static_cast<int*>(memory);
}

void count(int) { ++counter(); }

struct CountsItsEnd {
  ~CountsItsEnd() { ++counter(); }
};

std::vector<int> open_descriptors() {
  std::vector<int> open;
  DIR* directory = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(directory)) {
    const int descriptor = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && descriptor != dirfd(directory)) open.push_back(descriptor);
  }
  closedir(directory);
  return open;
}

int exit_status_of(cofork::detail::WorkerMain worker_main, std::vector<int> descriptors = {}) {
  const WorkerExit exit = run_worker(worker_main, std::move(descriptors));
  return WIFEXITED(exit.status) ? WEXITSTATUS(exit.status) : -WTERMSIG(exit.status);
}

}  // namespace

TEST_CASE("a worker has descriptors 0, 1, 2, those it was given, and libuv's own pipe") {
  Pipe foreign, given;
  tell(foreign.writer.get(), '*');  // looks as libuv's does
  const int status = exit_status_of(
      [](std::span<const int> descriptors) {
        std::vector<int> others = open_descriptors();
        for (const int expected : {0, 1, 2, descriptors[0], descriptors[1], descriptors[2]}) {
          if (std::erase(others, expected) != 1) _exit(1);
        }
        if (others.size() != 2) _exit(2);
        std::array<struct stat, 2> ends = {};
        if (fstat(others[0], &ends[0]) != 0 || fstat(others[1], &ends[1]) != 0) _exit(3);
        _exit(S_ISFIFO(ends[0].st_mode) && ends[0].st_ino == ends[1].st_ino ? 0 : 4);
      },
      {given.writer.get(), given.reader.get(), given.writer.get()});
  CHECK(status == 0);
}

TEST_CASE("libuv works in a worker, and so do descriptors in its forked children") {
  Pipe pipe;
  const int status = exit_status_of(
      [](std::span<const int> descriptors) {
        {
          uv_signal_t handle;
          Loop loop;  // whose end closes the handle
          if (uv_signal_init(loop, &handle) != 0) _exit(1);
          const auto close = [](uv_signal_t* ended, int) { uv_close(reinterpret_cast<uv_handle_t*>(ended), nullptr); };
          if (uv_signal_start(&handle, close, SIGUSR1) != 0) _exit(2);
          raise(SIGUSR1);
        }
        std::vector<Pipe> more(10);
        const pid_t child = fork();
        if (child == 0) {
          for (const Pipe& each : more) tell(each.writer.get(), 'x');
          tell(descriptors[0], 'x');
          _exit(0);
        }
        for (const Pipe& each : more) {
          if (each.read(1) != "x") _exit(3);
        }
        if (waitpid(child, nullptr, 0) != child) _exit(4);
      },
      {pipe.writer.get()});
  REQUIRE(status == 0);
  CHECK(pipe.read(1) == "x");
}

TEST_CASE("a worker reads nothing from standard input and bears the name of its pool") {
  Loop loop;
  Recorder events;
  ForkServer server(
      loop, events,
      [](std::span<const int>) {
        char byte = 0;
        std::array<char, 16> name = {};
        prctl(PR_GET_NAME, name.data());
        _exit(read(0, &byte, 1) == 0 && std::strcmp(name.data(), "pool-of-workers") == 0 ? 0 : 1);
      },
      "pool-of-workers-with-a-long-name");
  server.start(1, {});
  loop.run_until([&] { return !events.exits.empty(); });
  CHECK(events.exits[0].status == 0);
}

TEST_CASE("a worker has standard descriptors even if the parent has closed its own") {
  const auto outcome = support::in_child([] {
    Loop loop;  // libuv itself does not live with low numbers
    Recorder events;
    close(0);
    close(1);
    Pipe pipe;  // takes the free numbers
    const Descriptor writer(fcntl(pipe.writer.get(), F_DUPFD_CLOEXEC, 10));
    pipe.writer.reset();
    ForkServer server(
        loop, events,
        [](std::span<const int> descriptors) {
          tell(descriptors[0], 'x');
          _exit(descriptors[0] > 2 && fcntl(1, F_GETFD) == 0 ? 0 : 1);
        },
        "test");
    server.start(1, std::array{writer.get()});
    loop.run_until([&] { return !events.exits.empty(); });
    support::require(events.exits[0].status == 0 && pipe.read(1) == "x", "descriptors");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("a worker leads its own process group") {
  CHECK(exit_status_of([](std::span<const int>) { _exit(getpgrp() == getpid() ? 0 : 1); }) == 0);
}

TEST_CASE("a worker starts with default dispositions and no signal blocked") {
  const auto outcome = support::in_child([] {
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, count);
    signal(SIGCHLD, count);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, nullptr);
    const int status = exit_status_of([](std::span<const int>) {
      sigset_t mask;
      pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      for (int signo = 1; signo < NSIG; ++signo) {
        struct sigaction action = {};
        if (sigaction(signo, nullptr, &action) == 0 && action.sa_handler != SIG_DFL) _exit(signo);
        if (sigismember(&mask, signo) == 1) _exit(100 + signo);
      }
    });
    support::require(status == 0, "signal " + std::to_string(status));
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("a signal sent to a worker does not run the parent's handlers, in neither process") {
  const auto outcome = support::in_child([] {
    signal(SIGUSR1, count);
    counter() = 0;
    Loop loop;
    uv_signal_t handle;
    uv_signal_init(loop, &handle);
    uv_signal_start(
        &handle, [](uv_signal_t*, int signo) { count(signo); }, SIGTERM);
    {
      Recorder events;
      ForkServer server(
          loop, events, [](std::span<const int>) { sleep_for_ever(); }, "test");
      server.start(1, {});
      server.start(2, {});
      loop.run_until([&] { return events.started.size() == 2; });
      server.signal(1, SIGUSR1);
      server.signal(2, SIGTERM);
      loop.run_until([&] { return events.exits.size() == 2; });
      support::require(WIFSIGNALED(events.exits[0].status) && WIFSIGNALED(events.exits[1].status), "signalled");
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&handle), nullptr);
    uv_run(loop, UV_RUN_DEFAULT);
    support::require(counter() == 0, "no handler ran");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("exit in a worker runs the handlers registered there, but not the parent's") {
  const auto outcome = support::in_child([] {
    counter() = 0;
    std::atexit([] { ++counter(); });
    std::at_quick_exit([] { ++counter(); });
    static const CountsItsEnd object;
    support::require(exit_status_of([](std::span<const int>) { std::exit(3); }) == 3, "exit(3)");
    support::require(exit_status_of([](std::span<const int>) { std::quick_exit(4); }) == 4, "quick_exit(4)");
    support::require(exit_status_of([](std::span<const int>) {}) == 0, "return");
    support::require(counter() == 0, "nothing of the parent's");
    const int status = exit_status_of([](std::span<const int>) {
      std::atexit([] { counter() += 10; });
      std::exit(5);
    });
    support::require(status == 5 && counter() == 10, "the worker's own");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("what a worker prints appears once, before and after its end by return or exit") {
  const auto outcome = support::in_child([] {
    std::printf("parent;");
    exit_status_of([](std::span<const int>) { std::printf("returned;"); });
    exit_status_of([](std::span<const int>) {
      std::cout << "stream;";
      std::printf("exited;");
      std::exit(0);
    });
    std::fflush(stdout);
  });
  CHECK(outcome.succeeded());
  CHECK(outcome.output == "parent;returned;stream;exited;");
}

TEST_CASE("blocked signals are delivered when the guard is gone") {
  const auto outcome = support::in_child([] {
    counter() = 0;
    signal(SIGUSR1, count);
    {
      const cofork::detail::SignalsBlocked blocked;
      raise(SIGUSR1);
      support::require(counter() == 0, "blocked");
    }
    support::require(counter() == 1, "delivered");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}
