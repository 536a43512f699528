// What belongs to a process, in the children that are forked from it.
#include <chrono>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/ipc/value.hpp>
#include <cofork/runtime/shield.hpp>
#include <cofork/runtime/wait.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "executors/fork_harness.hpp"

using namespace fork_test;
using cofork::ForkExecutor;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::Stream;
using cofork::Task;

namespace {

/// Ends when the parent says so.
int wait_for_go(cofork::ipc::Value<int> go) {
  while (go.get() == 0) usleep(1000);
  return 7;
}
Stream<int> stream_after_go(cofork::ipc::Value<int> go) { co_yield wait_for_go(std::move(go)); }

template <class F>
std::string misuse(F call) {
  try {
    call();
    return "nothing";
  } catch (const std::logic_error& error) {
    return error.what();
  }
}

template <class A>
Task<std::string> misuse_of(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const std::logic_error& error) {
    co_return error.what();
  }
  co_return "nothing";
}

const std::string future_error = "this future belongs to the process that this one was forked from";
const std::string stream_error = "this stream belongs to the process that this one was forked from";

}  // namespace

TEST_CASE("A forked child that waits for a future of its parent gets a logic_error at once") {
  cofork::run([]() -> Task<> {
    cofork::ipc::Value<int> go(0);
    ProcessPoolExecutor pool(2);
    std::vector<Future<int>> futures;
    futures.push_back(pool.submit(wait_for_go, go));
    futures.push_back(pool.submit(wait_for_go, go));
    Future<int>& future = futures[0];
    auto in_child = [&]() -> Task<std::vector<std::string>> {
      std::vector<std::string> errors;
      const auto note = [&](std::string error) { errors.push_back(std::move(error)); };
      auto awaiting = [](Future<int>& it) -> Task<int> { co_return co_await it; };
      note(co_await misuse_of(awaiting(future)));
      note(co_await misuse_of(cofork::wait_for(future, 20s)));
      note(co_await misuse_of(cofork::shield(future)));
      note(co_await misuse_of(cofork::wait(futures)));
      note(misuse([&] { future.cancel(); }));
      note(misuse([&] { future.kill(); }));
      note(misuse([&] { future.add_done_callback([](Future<int>&) {}); }));
      note(co_await misuse_of(cofork::gather(std::move(futures))));
      co_return errors;
    };
    const std::vector<std::string> errors = co_await cofork::fork_call(in_child);
    CHECK(errors == std::vector<std::string>(8, future_error));
    go.set(1);
    const int value = co_await future;
    CHECK(value == 7);
    // What is done is there to be read.
    auto reads = [&]() -> Task<int> { co_return co_await future + future.result(); };
    const int read = co_await cofork::fork_call(reads);
    CHECK(read == 14);
  });
}

TEST_CASE("A forked child can wait neither for its parent's coroutines nor for its threads, but for its own") {
  cofork::run([]() -> Task<> {
    cofork::ipc::Value<int> go(0);
    auto coroutine = [](cofork::ipc::Value<int> until) -> Task<int> {
      while (until.get() == 0) co_await cofork::sleep(1ms);
      co_return 7;
    };
    Future<int> spawned = cofork::spawn(coroutine(go));
    auto in_child = [&]() -> Task<std::vector<std::string>> {
      std::vector<std::string> errors;
      auto awaiting = [](Future<int>& it) -> Task<int> { co_return co_await it; };
      errors.push_back(co_await misuse_of(awaiting(spawned)));
      Future<int> own = cofork::spawn([]() -> Task<int> { co_return 1; }());
      errors.push_back(std::to_string(co_await own));
      co_return errors;
    };
    const std::vector<std::string> errors = co_await cofork::fork_call(in_child);
    CHECK(errors == std::vector<std::string>{future_error, "1"});
    go.set(1);
    const int value = co_await spawned;
    CHECK(value == 7);
  });
}

TEST_CASE("A forked child that reads a stream of its parent gets a logic_error at once, and closing it stops nothing") {
  cofork::run([]() -> Task<> {
    cofork::ipc::Value<int> go(0);
    const std::vector<cofork::ipc::Value<int>> items(3, go);
    ProcessPoolExecutor pool(2);
    ForkExecutor forks(2);
    std::vector<Stream<int>> streams;
    streams.push_back(pool.map(wait_for_go, items));
    streams.push_back(pool.submit(stream_after_go, go));
    streams.push_back(forks.map([&](int) { return wait_for_go(go); }, std::vector<int>(3)));
    streams.push_back(forks.submit(stream_after_go, go));
    auto in_child = [&]() -> Task<std::vector<std::string>> {
      std::vector<std::string> errors;
      for (Stream<int>& stream : streams) {
        auto next = [](Stream<int>& it) -> Task<bool> { co_return (co_await it.next()).has_value(); };
        errors.push_back(co_await misuse_of(next(stream)));
      }
      streams.clear();
      co_return errors;
    };
    const std::vector<std::string> errors = co_await cofork::fork_call(in_child);
    CHECK(errors == std::vector<std::string>(4, stream_error));
    go.set(1);
    std::size_t values = 0;
    for (Stream<int>& stream : streams)
      while (const std::optional<int> value = co_await stream.next()) values += *value == 7;
    CHECK(values == 8);
  });
}

TEST_CASE("A forked child may forget its parent's executors, and gets a logic_error if it uses them") {
  cofork::run([]() -> Task<> {
    cofork::ipc::Value<int> go(0);
    auto pool = std::make_unique<ProcessPoolExecutor>(2);
    auto forks = std::make_unique<ForkExecutor>(2);
    Future<int> in_pool = pool->submit(wait_for_go, go);
    Future<int> queued = pool->submit(wait_for_go, go);
    Future<int> forked = forks->submit([&] { return wait_for_go(go); });
    auto in_child = [&]() -> Task<std::vector<std::string>> {
      std::vector<std::string> errors;
      errors.push_back(misuse([&] { static_cast<void>(pool->submit(wait_for_go, go)); }));
      errors.push_back(misuse([&] { pool->kill_workers(); }));
      errors.push_back(misuse([&] { static_cast<void>(pool->shutdown()); }));
      errors.push_back(misuse([&] { static_cast<void>(forks->submit([] { return 1; })); }));
      pool = std::make_unique<ProcessPoolExecutor>(1);
      forks = std::make_unique<ForkExecutor>(1);
      go.set(1);
      errors.push_back(std::to_string(co_await pool->submit(wait_for_go, go)));
      errors.push_back(std::to_string(co_await forks->submit([] { return 8; })));
      co_return errors;
    };
    const std::vector<std::string> errors = co_await cofork::fork_call(in_child);
    const std::string of_pool = "this pool belongs to the process that this one was forked from";
    const std::string of_forks = "this executor belongs to the process that this one was forked from";
    CHECK(errors == std::vector<std::string>{of_pool, of_pool, of_pool, of_forks, "7", "8"});
    const int first = co_await in_pool;
    const int second = co_await queued;
    const int third = co_await forked;
    CHECK(first + second + third == 21);
    CHECK(pool->stats().workers_died == 0);
  });
}
