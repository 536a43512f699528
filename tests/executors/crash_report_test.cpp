#include <sys/wait.h>

#include <cofork/executors/crash_report.hpp>
#include <cofork/executors/remote_info.hpp>
#include <cofork/executors/stack_trace.hpp>
#include <cstdlib>
#include <cstring>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Task;

namespace {

[[gnu::noinline]] void segfault() {
  volatile std::uintptr_t nowhere = 16;
  *reinterpret_cast<volatile int*>(nowhere) = 1;
}
[[gnu::noinline]] int divide(int a, int b) {
  asm volatile("" : "+r"(b));
  return a / b;
}
[[gnu::noinline]] int throw_it(int n) { return n != 0 ? throw std::runtime_error("nobody catches this") : n; }
[[gnu::noinline]] int give_up() noexcept { return throw_it(1) + 1; }
[[gnu::noinline]] int overflow(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  asm volatile("" : "+r"(depth));
  return depth < 0 ? 0 : overflow(depth + 1) + frame[0];
}

struct Death {
  std::string what;
  int exitcode = 0;
  cofork::RemoteInfo info;
};

template <class T>
Task<Death> death_of(Future<T> future) {
  const bool done = co_await until([&] { return future.done(); });
  REQUIRE(done);
  const std::exception_ptr error = future.exception();
  REQUIRE(error);
  Death death{"no WorkerDied", 0, cofork::remote_info(error)};
  try {
    std::rethrow_exception(error);
  } catch (const cofork::WorkerDied& died) {
    death.what = died.what();
    death.exitcode = died.exitcode();
  } catch (const std::exception& other) {
    death.what = other.what();
  }
  co_return death;
}

bool contains(const std::string& text, const char* part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

// The sanitizers' builds report no crashes, as their handlers are the sanitizers' own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool reported = false;
#elif defined(__has_feature)
constexpr bool reported = !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer));
#else
constexpr bool reported = true;
#endif

}  // namespace

TEST_CASE("a worker that crashes leaves its backtrace, and dies by its signal") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const Death fault = co_await death_of(pool.submit(+[] {
      segfault();
      return 1;
    }));
    CHECK(fault.exitcode == -SIGSEGV);
    CHECK(contains(fault.what, "SIGSEGV"));
    CHECK(contains(fault.what, "at address 0x10") == reported);
    CHECK(contains(fault.what, "segfault()") == reported);
    CHECK(contains(fault.info.backtrace, "segfault()") == reported);
    const Death abort = co_await death_of(pool.submit({.name = "the name"}, [] { std::abort(); }));
    CHECK(abort.exitcode == -SIGABRT);
    CHECK(contains(abort.what, "the name"));
    CHECK(contains(abort.info.backtrace, "#0") == reported);
    const Death terminate = co_await death_of(pool.submit(give_up));
    CHECK(terminate.exitcode == -SIGABRT);
    CHECK(contains(terminate.what, "give_up()"));
    const int alive = co_await pool.submit(square, 3);
    CHECK(alive == 9);
  });
}

#if defined(__x86_64__)
TEST_CASE("a division by zero is told as one") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const Death death = co_await death_of(pool.submit(divide, 1, 0));
    if (reported) {
      CHECK(death.exitcode == -SIGFPE);
      CHECK(contains(death.what, "division by zero"));
    }
  });
}
#endif

TEST_CASE("a stack that overflows is told as one") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const Death death = co_await death_of(pool.submit(overflow, 1));
    CHECK(death.exitcode == -SIGSEGV);
    CHECK(contains(death.what, "the stack overflowed") == reported);
    CHECK(contains(death.what, "overflow(int)"));
  });
}

TEST_CASE("a signal that is sent from outside has a backtrace too, SIGKILL has none") {
  Shared shared;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    for (const int signo : {SIGSEGV, SIGKILL}) {
      shared[0] = 0;
      auto future = pool.submit(never_end, 0);
      const bool started = co_await until([&] { return shared[0] == 1; });
      REQUIRE(started);
      const auto pids = co_await workers_of(pool, 1);
      ::kill(pids[0], signo);
      const Death death = co_await death_of(std::move(future));
      CHECK(death.exitcode == -signo);
      CHECK(contains(death.what, "#0") == (reported && signo == SIGSEGV));
      CHECK(!contains(death.what, "at address"));
    }
  });
}

TEST_CASE("a crash that the task itself survives, or its child dies of, is no crash of the worker") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const int status = co_await pool.submit(+[] {
      const pid_t child = ::fork();
      if (child == 0) ::abort();
      int ended = 0;
      ::waitpid(child, &ended, 0);
      return WIFSIGNALED(ended) ? WTERMSIG(ended) : 0;
    });
    CHECK(status == SIGABRT);
    const Death death = co_await death_of(pool.submit(+[] { ::raise(SIGKILL); }));
    CHECK(!contains(death.what, "#0"));
  });
}

TEST_CASE("a task's own handler for a fatal signal is left alone") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const Death death = co_await death_of(pool.submit(+[] {
      ::signal(SIGSEGV, [](int) { ::_exit(77); });
      ::raise(SIGSEGV);
    }));
    CHECK(death.exitcode == 77);
    CHECK(!contains(death.what, "#0"));
  });
}

TEST_CASE("whatever a worker writes into its crash record is read within bounds") {
  cofork::ipc::CrashRecord record;
  std::memset(static_cast<void*>(&record), 0xff, sizeof record);
  CHECK(cofork::detail::read_crash(record).signal == 0);
  record.signal = SIGSEGV;
  const cofork::detail::Crash crash = cofork::detail::read_crash(record);
  CHECK(crash.stack.size() == cofork::ipc::CrashRecord::most_frames);
  CHECK(!cofork::detail::describe_stack(crash.stack).empty());
  cofork::detail::describe_fault(crash);
}

TEST_CASE("a limit of the processor time is named as what ended a worker") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const Death death = co_await death_of(pool.submit(+[] { ::raise(SIGXCPU); }));
    CHECK(death.exitcode == -SIGXCPU);
    CHECK(contains(death.what, "processor time"));
  });
}
