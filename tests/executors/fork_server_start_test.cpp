#include <dirent.h>
#include <dlfcn.h>
#include <sys/wait.h>

#include <cofork/executors/early_fork_server.hpp>
#include <cofork/executors/process_info.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/to_thread.hpp>
#include <csignal>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::StartMethod;
using cofork::Task;
namespace fork_server = cofork::fork_server;

namespace {

int written_later = 0;
int value_in_worker() { return written_later; }
pid_t parent_pid() { return ::getppid(); }

int open_descriptors() {
  int count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory)) ++count;
  ::closedir(directory);
  return count - 3;  // ".", ".." and the directory itself
}

/// The server, while it lives.
class Server {
 public:
  Server() { fork_server::start(); }
  ~Server() { fork_server::stop(); }
  /// Its pid: a worker's parent is a template, the template's is the server.
  static pid_t pid_of(pid_t worker) { return parent_of(parent_of(worker)); }
};

Task<pid_t> server_of(ProcessPoolExecutor& pool) {
  const pid_t worker = co_await pool.submit(own_pid);
  co_return Server::pid_of(worker);
}

}  // namespace

TEST_CASE("workers come from the fork server, with the memory of its start") {
  written_later = 1;
  const Server server;
  CHECK(fork_server::running());
  written_later = 2;
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor automatic(1);
    ProcessPoolExecutor forkserver({.max_workers = 1, .start_method = StartMethod::forkserver});
    ProcessPoolExecutor fork({.max_workers = 1, .start_method = StartMethod::fork});
    const int a = co_await automatic.submit(value_in_worker);
    const int b = co_await forkserver.submit(value_in_worker);
    const int c = co_await fork.submit(value_in_worker);
    CHECK(a == 1);
    CHECK(b == 1);
    CHECK(c == 2);
    const pid_t first = co_await server_of(automatic), second = co_await server_of(forkserver);
    CHECK(first == second);
    CHECK(parent_of(first) == ::getpid());
    const pid_t direct = co_await fork.submit(parent_pid);
    CHECK(parent_of(direct) == ::getpid());
  });
}

TEST_CASE("a pool that insists on a fork server says what to do if there is none") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .start_method = StartMethod::forkserver});
    std::string what;
    try {
      static_cast<void>(pool.submit(square, 1));
    } catch (const cofork::InvalidStateError& error) {
      what = error.what();
    }
    CHECK(what.find("fork_server::start()") != std::string::npos);
    co_return;
  });
}

TEST_CASE("starting and stopping the fork server is idempotent, and it can be started again") {
  CHECK_FALSE(fork_server::running());
  fork_server::stop();
  for (int round = 0; round < 3; ++round) {
    fork_server::start();
    fork_server::start();
    CHECK(fork_server::running());
    fork_server::stop();
    fork_server::stop();
    CHECK_FALSE(fork_server::running());
  }
}

TEST_CASE("the fork server is not started while a loop runs") {
  cofork::run([]() -> Task<> {
    CHECK_THROWS_AS(fork_server::start(), std::logic_error);
    co_return;
  });
  CHECK_FALSE(fork_server::running());
}

TEST_CASE("pools of several threads use the fork server at the same time", "[threads]") {
  const Server server;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&right, t] {
      for (int round = 0; round < 3; ++round) {
        right += cofork::run([=]() -> Task<int> {
          ProcessPoolExecutor pool({.max_workers = 2, .start_method = StartMethod::forkserver});
          int count = 0;
          auto squares = pool.map(square, std::views::iota(0, 50));
          for (int i = 0; auto result = co_await squares.next(); ++i) count += *result == i * i;
          co_return count + t - t;
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 3 * 3 * 50);
}

TEST_CASE("nothing is said about threads when there is a fork server", "[threads]") {
  for (const bool early : {false, true}) {
    const auto outcome = support::in_child([=] {
      if (early) fork_server::start();
      std::atomic<bool> begun = false;
      std::thread other([&] {
        begun = true;
        pause_for(1h);
      });
      // Before that it may hold a lock of the sanitizer's allocator, which with g++ 12 would be locked in forked
      // processes.
      while (!begun) pause_for(1ms);
      cofork::run([]() -> Task<> {
        ProcessPoolExecutor first(1), second(1);
        co_await first.submit(square, 1);
        co_await second.submit(square, 1);
      });
      std::fflush(stderr);
      ::_exit(0);
    });
    INFO(outcome.output);
    CHECK(outcome.succeeded());
    if (support::thread_sanitizer) continue;
    const auto at = outcome.output.find("cofork::fork_server::start()");
    CHECK((at != std::string::npos) == !early);
    CHECK(outcome.output.find("cofork::fork_server::start()", at == std::string::npos ? 0 : at + 1) ==
          std::string::npos);
  }
}

TEST_CASE("a large process is advised to start the fork server, once") {
  const auto outcome = support::in_child([] {
    const std::size_t size = std::size_t{1100} << 20;
    void* const memory =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    support::require(memory != MAP_FAILED, "memory");
    cofork::run([]() -> Task<> {
      ProcessPoolExecutor first(1), second(1), third({.max_workers = 1, .start_method = StartMethod::fork});
      co_await first.submit(square, 1);
      co_await second.submit(square, 1);
      co_await third.submit(square, 1);
    });
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
  const auto at = outcome.output.find("GiB of memory");
  CHECK(at != std::string::npos);
  CHECK(outcome.output.find("GiB of memory", at + 1) == std::string::npos);
}

TEST_CASE("the workers of the fork server have no descriptor of others") {
  const ProcessPoolExecutor none(1);
  int without = 0;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    without = co_await pool.submit(open_descriptors);
  });
  const cofork::ipc::Descriptor before = cofork::ipc::Descriptor::duplicate(0);
  const Server server;
  const cofork::ipc::Descriptor after = cofork::ipc::Descriptor::duplicate(0);
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor other(1), pool(1);
    co_await other.submit(square, 1);
    const int with = co_await pool.submit(open_descriptors);
    // libuv makes a pipe for itself in each forked process.
    CHECK(with <= without + 2);
  });
}

TEST_CASE("the workers' processes of the fork server know their parent") {
  const Server server;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const pid_t parent = co_await pool.submit([] { return cofork::parent_process()->pid; });
    CHECK(parent == ::getpid());
  });
}

TEST_CASE("crashes, timeouts and kills are as with any other pool") {
  const Server server;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto crash = pool.submit([] { ::raise(SIGSEGV); });
    auto late = pool.submit({.timeout = 30ms}, [] { pause_for(1h); });
    CHECK_THROWS_AS(co_await crash, cofork::WorkerDied);
    CHECK_THROWS_AS(co_await late, cofork::TimeoutError);
    const int four = co_await pool.submit(square, 2);
    CHECK(four == 4);
    pool.kill_workers();
    co_await pool.shutdown();
    CHECK(pool.worker_pids().empty());
  });
}

TEST_CASE("a pool that outlives the fork server goes on with workers of its own process") {
  const Server server;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 2});
    const pid_t early = co_await server_of(pool);
    auto running = pool.submit([] { pause_for(1h); });
    const bool begun = co_await until([&] { return running.running(); });
    CHECK(begun);
    const std::vector<pid_t> workers = co_await workers_of(pool, 1);
    ::kill(early, SIGKILL);
    // With the workers, while the pool does not know it yet.
    for (const pid_t worker : workers) CHECK(support::eventually([&] { return !support::is_running(worker); }));
    CHECK_THROWS_AS(co_await running, cofork::WorkerDied);
    const pid_t grandparent = co_await server_of(pool);
    CHECK(grandparent == ::getpid());
    CHECK_FALSE(fork_server::running());
  });
}

TEST_CASE("a pool that insists on the fork server breaks when that has been killed") {
  const Server server;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .start_method = StartMethod::forkserver});
    const pid_t early = co_await server_of(pool);
    ::kill(early, SIGKILL);
    std::string what;
    const auto end = std::chrono::steady_clock::now() + 30s * support::slowdown;
    while (what.empty() && std::chrono::steady_clock::now() < end) {
      try {
        co_await pool.submit(square, 1);
        co_await cofork::sleep(1ms);
      } catch (const cofork::WorkerDied&) {
      } catch (const cofork::BrokenProcessPool& error) {
        what = error.what();
      }
    }
    INFO(what);
    CHECK(what.find("fork_server::start()") != std::string::npos);
  });
  // And another one can be started.
  fork_server::start();
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .start_method = StartMethod::forkserver});
    const int four = co_await pool.submit(square, 2);
    CHECK(four == 4);
  });
}

TEST_CASE("a fork server that is killed at any moment of a pool's start hangs nobody", "[limit:120]") {
  for (int delay = 0; delay < 40; ++delay) {
    const Server server;
    const pid_t early = [] {
      // The only child.
      FILE* const children = std::fopen("/proc/thread-self/children", "re");
      int pid = 0;
      if (std::fscanf(children, "%d", &pid) != 1) pid = 0;
      std::fclose(children);
      return pid;
    }();
    REQUIRE(early > 0);
    const pid_t killer = ::fork();
    if (killer == 0) {
      pause_for(std::chrono::microseconds(delay * 25));
      ::kill(early, SIGKILL);
      ::_exit(0);
    }
    cofork::run([&]() -> Task<> {
      ProcessPoolExecutor pool(2);
      for (int i = 0; i < 5; ++i) {
        auto future = pool.submit({.retries = 5}, square, i);
        const bool ended = co_await until([&] { return future.done(); });
        CHECK(ended);
        CHECK(future.result() == i * i);
      }
    });
    ::waitpid(killer, nullptr, 0);
  }
}

TEST_CASE("the fork server ends with the process that started it, however that ends") {
  for (const bool killed : {false, true}) {
    pid_t early = 0, worker = 0;
    {
      Shared shared;
      const auto outcome = support::in_child([&] {
        fork_server::start();
        cofork::run([&]() -> Task<> {
          ProcessPoolExecutor pool(1);
          const pid_t own = co_await pool.submit(own_pid);
          shared[0] = own;
          shared[1] = Server::pid_of(own);
          if (killed) ::raise(SIGKILL);
        });
        std::exit(0);
      });
      INFO(outcome.output);
      CHECK((killed ? outcome.signal == SIGKILL : outcome.exit_status == 0));
      worker = shared[0];
      early = shared[1];
    }
    CHECK(early > 1);
    CHECK(support::eventually([&] { return !support::is_running(early); }));
    CHECK(support::eventually([&] { return !support::is_running(worker); }));
  }
}

TEST_CASE("a function of a library that was loaded after the fork server's start is refused") {
  // In a process of its own, for the library may stay loaded.
  const auto outcome = support::in_child([] {
    const Server server;
    using Function = std::size_t (*)();  // not what it is, but it is not called
    Function version = nullptr;
    for (const auto& [library, function] : {std::pair("libz.so.1", "zlibVersion"),
                                            {"libbz2.so.1.0", "BZ2_bzlibVersion"},
                                            {"liblzma.so.5", "lzma_version_string"}}) {
      if (::dlopen(library, RTLD_NOW | RTLD_NOLOAD)) continue;
      if (void* const loaded = ::dlopen(library, RTLD_NOW))
        version = reinterpret_cast<Function>(::dlsym(loaded, function));
      if (version) break;
    }
    if (!version) return;
    cofork::run([=]() -> Task<> {
      ProcessPoolExecutor pool(1);
      auto future = pool.submit(version);
      const bool ended = co_await until([&] { return future.done(); });
      support::require(ended, "it ended");
      const std::string what = error_of<cofork::DecodeError>(future);
      support::require(what.find("loaded after") != std::string::npos, what.c_str());
      const int four = co_await pool.submit(square, 2);
      support::require(four == 4, "four");
    });
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("a child of a process with a fork server has none, and can have its own") {
  const Server server;
  const auto outcome = support::in_child([] {
    support::require(!fork_server::running(), "it is its parent's");
    fork_server::start();
    cofork::run([]() -> Task<> {
      ProcessPoolExecutor pool({.max_workers = 1, .start_method = StartMethod::forkserver});
      const int four = co_await pool.submit(square, 2);
      support::require(four == 4, "four");
    });
    fork_server::stop();
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
  CHECK(fork_server::running());
}

TEST_CASE("a pool in a worker of the fork server forks from that worker") {
  const Server server;
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const int value = co_await pool.submit([] {
      written_later = 77;
      return cofork::run([]() -> Task<int> {
        ProcessPoolExecutor nested(1);
        co_return co_await nested.submit(value_in_worker);
      });
    });
    CHECK(value == 77);
  });
}
