#include <cofork/executors/exception_origin.hpp>
#include <cofork/executors/remote_info.hpp>
#include <thread>

#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::remote_info;
using cofork::Task;

namespace {

// Not inlined, and the call is not its last act: it has a frame of its own.
[[gnu::noinline]] int throw_far_inside(int depth) {
  if (depth == 0) throw std::out_of_range("far inside");
  const int result = throw_far_inside(depth - 1);
  asm volatile("" : : "r"(result));
  return result + 1;
}
[[gnu::noinline]] int catch_and_throw_again(int depth) {
  try {
    return throw_far_inside(depth);
  } catch (...) {
    throw;
  }
}
[[gnu::noinline]] int nest(int depth) {
  try {
    return throw_far_inside(depth);
  } catch (...) {
    std::throw_with_nested(std::runtime_error("around it"));
  }
}
Task<int> throw_in_a_coroutine(int depth) {
  co_await cofork::sleep(1ms);
  co_return throw_far_inside(depth);
}

template <class T>
Task<std::exception_ptr> error_of_future(Future<T> future) {
  const bool done = co_await until([&] { return future.done(); });
  REQUIRE(done);
  co_return future.exception();
}

bool contains(const std::string& text, const char* part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool traced = false;
#elif defined(__has_feature)
constexpr bool traced = !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer));
#else
constexpr bool traced = true;
#endif

}  // namespace

TEST_CASE("what a task throws tells its process, its name and where it was thrown") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const pid_t pid = co_await pool.submit(own_pid);
    const auto named = co_await error_of_future(pool.submit({.name = "parse document 7"}, throw_far_inside, 3));
    CHECK(typeid(std::out_of_range) == *named.__cxa_exception_type());
    CHECK(remote_info(named).pid == pid);
    CHECK(remote_info(named).task_name == "parse document 7");
    const std::string backtrace = remote_info(named).backtrace;
    CHECK(contains(backtrace, "throw_far_inside(int)") == traced);
    CHECK(!contains(backtrace, "worker_main"));
    const auto again = co_await error_of_future(pool.submit(catch_and_throw_again, 2));
    CHECK(contains(remote_info(again).task_name, "catch_and_throw_again"));
    CHECK(contains(remote_info(again).backtrace, "throw_far_inside(int)") == traced);
    const auto coroutine = co_await error_of_future(pool.submit(throw_in_a_coroutine, 2));
    CHECK(contains(remote_info(coroutine).backtrace, "throw_far_inside(int)") == traced);
    const auto foreign = co_await error_of_future(pool.submit(+[]() -> int { throw 42; }));
    CHECK(remote_info(foreign).pid == pid);
  });
}

TEST_CASE("each of several nested exceptions tells where it was thrown") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto outer = co_await error_of_future(pool.submit(nest, 2));
    std::exception_ptr inner;
    try {
      std::rethrow_exception(outer);
    } catch (const std::runtime_error& error) {
      try {
        std::rethrow_if_nested(error);
      } catch (const std::out_of_range&) {
        inner = std::current_exception();
      }
    }
    REQUIRE(inner);
    CHECK(remote_info(inner).pid == remote_info(outer).pid);
    CHECK(remote_info(inner).pid != 0);
    CHECK(contains(remote_info(inner).backtrace, "throw_far_inside(int)") == traced);
    CHECK(!contains(remote_info(outer).backtrace, "throw_far_inside(int)"));
    CHECK(contains(remote_info(outer).backtrace, "nest(int)") == traced);
  });
}

TEST_CASE("an item of a map tells where it failed") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(2);
    auto results = pool.map(throw_far_inside, std::vector<int>{1, 2});
    int told = 0;
    for (int i = 0; i < 2; ++i) {
      try {
        co_await results.next();
      } catch (const std::out_of_range&) {
        const cofork::RemoteInfo info = remote_info(std::current_exception());
        told += info.pid != 0 && contains(info.task_name, "throw_far_inside");
      }
    }
    CHECK(told == 2);
  });
}

TEST_CASE("the errors that stand for a stopped or dead worker tell its process and task") {
  cofork::run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const pid_t pid = co_await pool.submit(own_pid);
    const auto died = co_await error_of_future(pool.submit({.name = "dying"}, [] { ::raise(SIGKILL); }));
    CHECK(remote_info(died).pid == pid);
    CHECK(remote_info(died).task_name == "dying");
    const auto late =
        co_await error_of_future(pool.submit({.timeout = 20ms, .grace = 10ms, .name = "slow"}, [] { pause_for(1h); }));
    CHECK(remote_info(late).pid != 0);
    CHECK(remote_info(late).pid != pid);
    CHECK(remote_info(late).task_name == "slow");
  });
}

TEST_CASE("other exceptions come from nowhere") {
  CHECK(remote_info(nullptr).pid == 0);
  const cofork::RemoteInfo info = remote_info(std::make_exception_ptr(std::runtime_error("local")));
  CHECK(info.pid == 0);
  CHECK(info.task_name.empty());
  CHECK(info.backtrace.empty());
}

TEST_CASE("an exception that is gone leaves nothing for the next one in its place", "[threads]") {
  // Made and dropped on several threads at once; what is made like any other has no origin whatever was there before.
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&wrong, t] {
      for (int i = 0; i < 500; ++i) {
        auto error = cofork::detail::make_exception_from(std::runtime_error("x"), {t + 1, "task", {}});
        wrong += remote_info(error).pid != t + 1;
        error = nullptr;
        error = std::make_exception_ptr(std::runtime_error("x"));
        wrong += remote_info(error).pid != 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
