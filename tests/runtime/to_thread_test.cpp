#include <cofork/runtime/to_thread.hpp>

#include <atomic>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/combinators.hpp"
#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::error_of;
using support::throws;

namespace {

/// A door at which threads wait.
class Gate {
 public:
  ~Gate() { open(); }
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  int arrived() {
    const std::lock_guard lock(mutex_);
    return arrived_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

/// Every thread of the pool waits at the gate when this has been awaited.
Task<std::vector<Future<void>>> fill_pool(Gate& gate) {
  const char* const said = std::getenv("UV_THREADPOOL_SIZE");
  const int threads = said ? std::atoi(said) : 4;
  std::vector<Future<void>> filling;
  for (int i = 0; i < threads; ++i) filling.push_back(to_thread([&gate] { gate.pass(); }));
  while (gate.arrived() < threads) co_await sleep(1ms);
  co_return filling;
}

}  // namespace

TEST_CASE("to_thread runs a function in another thread and gives its result", "[threads]") {
  run([]() -> Task<> {
    const std::thread::id here = std::this_thread::get_id();
    const std::thread::id there = co_await to_thread([] { return std::this_thread::get_id(); });
    CHECK(there != here);
    int seen = 0;
    co_await to_thread([&seen] { seen = 1; });
    CHECK(seen == 1);
    int& reference = co_await to_thread([&seen]() -> int& { return seen; });
    CHECK(&reference == &seen);
    const int sum = co_await to_thread([](int a, long b) { return a + static_cast<int>(b); }, 1, 2L);
    CHECK(sum == 3);
  });
}

TEST_CASE("to_thread moves the function, its arguments and its result", "[threads]") {
  run([]() -> Task<> {
    auto owned = std::make_unique<int>(1);
    auto function = [owned = std::move(owned)](std::unique_ptr<int> other) {
      return std::make_unique<int>(*owned + *other);
    };
    Future<std::unique_ptr<int>> future = to_thread(std::move(function), std::make_unique<int>(2));
    const std::unique_ptr<int> sum = co_await std::move(future);
    CHECK(*sum == 3);
    const std::string text = "copied";
    const std::size_t size = co_await to_thread([](const std::string& its) { return its.size(); }, text);
    CHECK(size == 6);
  });
}

TEST_CASE("an exception arrives from the thread", "[threads]") {
  run([]() -> Task<> {
    const std::string error = co_await error_of(to_thread([] { throw support::Failure("there"); }));
    CHECK(error == "there");
    Future<int> future = to_thread([]() -> int { throw 5; });
    bool caught = false;
    try {
      co_await future;
    } catch (const int value) {
      caught = value == 5;
    }
    CHECK(caught);
  });
}

TEST_CASE("calls run at the same time", "[threads]") {
  run([]() -> Task<> {
    Gate gate;
    Future<void> one = to_thread([&] { gate.pass(); });
    Future<void> two = to_thread([&] { gate.pass(); });
    while (gate.arrived() < 2) co_await sleep(1ms);
    CHECK(one.running());
    CHECK(two.running());
    gate.open();
    co_await gather(std::move(one), std::move(two));
  });
}

TEST_CASE("the function is destroyed on the loop's thread, before its future is done", "[threads]") {
  run([]() -> Task<> {
    struct Witness {
      explicit Witness(std::thread::id& its_place) : place(&its_place) {}
      Witness(Witness&& other) noexcept : place(std::exchange(other.place, nullptr)) {}
      ~Witness() {
        if (place) *place = std::this_thread::get_id();
      }
      std::thread::id* place;
    };
    std::thread::id place;
    auto function = [witness = Witness(place)] { return witness.place != nullptr; };
    Future<bool> future = to_thread(std::move(function));
    const bool was_there = co_await future;
    CHECK(was_there);
    CHECK(place == std::this_thread::get_id());
  });
}

TEST_CASE("a call that no thread has begun can be cancelled, one that runs cannot", "[threads]") {
  run([]() -> Task<> {
    Gate gate;
    std::vector<Future<void>> filling = co_await fill_pool(gate);
    std::atomic<bool> begun = false;
    Future<void> cancelled = to_thread([&] { begun = true; });
    Future<void> killed = to_thread([&] { begun = true; });
    CHECK_FALSE(cancelled.running());
    CHECK(cancelled.cancel());
    CHECK(cancelled.cancelled());
    CHECK(cancelled.cancel());
    CHECK(killed.kill());
    CHECK(killed.cancelled());
    CHECK(filling[0].running());
    CHECK_FALSE(filling[0].cancel());
    CHECK_FALSE(filling[0].kill());
    gate.open();
    co_await gather(std::move(filling));
    co_await to_thread([] {});
    CHECK_FALSE(begun);
    const bool throws_it = co_await throws<CancelledError>(std::move(cancelled));
    CHECK(throws_it);
  });
}

TEST_CASE("a call that is done can no longer be cancelled", "[threads]") {
  run([]() -> Task<> {
    Future<int> future = to_thread([] { return 1; });
    co_await future;
    CHECK_FALSE(future.cancel());
    CHECK_FALSE(future.running());
    CHECK(future.result() == 1);
  });
}

TEST_CASE("cancelling the awaiter cancels a call that has not begun and waits for one that runs", "[threads]") {
  run([]() -> Task<> {
    Gate gate;
    std::vector<Future<void>> filling = co_await fill_pool(gate);
    const auto wait_for_call = [](Future<void> call) -> Task<> { co_await call; };
    Future<void> waits_for_running = spawn(wait_for_call(std::move(filling[0])));
    Future<void> waits_for_queued = spawn(wait_for_call(to_thread([] {})));
    co_await support::turns(2);
    waits_for_running.cancel();
    waits_for_queued.cancel();
    co_await support::turns(3);
    CHECK(waits_for_queued.cancelled());
    CHECK_FALSE(waits_for_running.done());
    gate.open();
    // It ended with a value in spite of the cancellation.
    co_await waits_for_running;
    filling.erase(filling.begin());
    co_await gather(std::move(filling));
  });
}

TEST_CASE("wait_for waits for a call that runs", "[threads]") {
  run([]() -> Task<> {
    Gate gate;
    Future<int> call = to_thread([&] {
      gate.pass();
      return 1;
    });
    while (gate.arrived() == 0) co_await sleep(1ms);
    const auto open_later = [&]() -> Task<> {
      co_await sleep(5ms);
      gate.open();
    };
    const Future<void> opener = spawn(open_later());
    const int value = co_await wait_for(call, 1ms);
    CHECK(value == 1);
  });
}

TEST_CASE("run waits for calls that still run and gives up those that have not begun", "[threads]") {
  Gate gate;
  std::atomic<int> ended = 0;
  std::atomic<int> never = 0;
  std::size_t filled = 0;
  std::thread opener([&] {
    while (gate.arrived() == 0) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(200ms);
    gate.open();
  });
  int callbacks = 0;
  run([&]() -> Task<> {
    std::vector<Future<void>> filling;
    for (int i = 0; i < 4; ++i)
      filling.push_back(to_thread([&] {
        gate.pass();
        ++ended;
      }));
    while (gate.arrived() == 0) co_await sleep(1ms);
    filled = filling.size();
    Future<void> call = to_thread([&] { ++never; });
    call.add_done_callback([&](Future<void>& done) {
      ++callbacks;
      CHECK(done.done());
    });
  });
  const int arrived = gate.arrived();
  CHECK(ended == arrived);
  CHECK(callbacks == 1);
  CHECK(never <= 1);
  opener.join();
}

TEST_CASE("dropping the future of a call lets it run", "[threads]") {
  std::atomic<bool> ran = false;
  run([&]() -> Task<> {
    (void)to_thread([&] { ran = true; });
    while (!ran) co_await sleep(1ms);
  });
  CHECK(ran);
}

TEST_CASE("a thread of the pool may run a loop of its own", "[threads]") {
  run([]() -> Task<> {
    const int value = co_await to_thread([] { return run(support::value_after(1, 3)); });
    CHECK(value == 1);
  });
}

TEST_CASE("to_thread outside of a loop is std::logic_error") {
  CHECK_THROWS_AS(to_thread([] {}), std::logic_error);
}

TEST_CASE("many calls", "[threads]") {
  run([]() -> Task<> {
    std::vector<Future<int>> calls;
    for (int i = 0; i < 1000; ++i) calls.push_back(to_thread([i] { return i; }));
    const std::vector<int> values = co_await gather(std::move(calls));
    CHECK(values.size() == 1000);
    CHECK(values[999] == 999);
  });
}
