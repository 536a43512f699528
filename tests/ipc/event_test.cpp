#include <cofork/ipc/event.hpp>

#include "ipc/sync_harness.hpp"

using namespace sync_test;
using cofork::ipc::Event;

TEST_CASE("an event between processes is set and cleared") {
  const Event event;
  CHECK_FALSE(event.is_set());
  CHECK_FALSE(event.blocking_wait(0s));
  CHECK_FALSE(event.blocking_wait(2ms));
  event.set();
  event.set();
  CHECK(event.is_set());
  CHECK(event.blocking_wait());
  CHECK(event.blocking_wait(0s));
  event.clear();
  CHECK_FALSE(event.is_set());
  CHECK_FALSE(event.blocking_wait(-1s));
}

TEST_CASE("set wakes processes, threads and coroutines that wait, also when clear follows at once", "[threads]") {
  const Event event;
  const Count there, woken;
  const auto wait = [=] {
    ++*there;
    event.blocking_wait();
    ++*woken;
  };
  Process process = start(wait);
  std::thread thread(wait);
  const auto main = [&]() -> Task<> {
    auto waiting = cofork::spawn(event.wait());
    auto timed = cofork::spawn(event.wait(60s));
    while (*there < 2) co_await cofork::sleep(1ms);
    co_await cofork::sleep(20ms);
    event.set();
    event.clear();
    co_await std::move(waiting);
    const bool in_time = co_await std::move(timed);
    CHECK(in_time);
    // Those who were there, but not waiting yet, wait for the next time.
    for (auto pause = 20ms; *woken < 2; pause *= 2) {
      for (const auto end = std::chrono::steady_clock::now() + pause;
           *woken < 2 && std::chrono::steady_clock::now() < end;)
        co_await cofork::sleep(1ms);
      event.set();
      event.clear();
    }
  };
  cofork::run(main);
  thread.join();
  process.blocking_join();
  CHECK(process.exitcode() == 0);
}

TEST_CASE("a child's set is seen by those who wait in its parent") {
  const Event event;
  Process process = start([=] {
    ::usleep(10000);
    event.set();
  });
  CHECK(event.blocking_wait(30s));
  process.blocking_join();
}

TEST_CASE("a killed waiter for an event hinders nobody") {
  const Event event;
  kill_when_counted([event](auto ready) {
    ready();
    event.blocking_wait();
  });
  std::thread setter([&] {
    ::usleep(10000);
    event.set();
  });
  CHECK(event.blocking_wait(30s));
  setter.join();
}

TEST_CASE("awaiting an event ends by timeout and by cancellation") {
  const Event event;
  const auto main = [&]() -> Task<> {
    const bool in_time = co_await event.wait(2ms);
    CHECK_FALSE(in_time);
    auto waiting = cofork::spawn(event.wait());
    co_await cofork::sleep(2ms);
    waiting.cancel();
    bool cancelled = false;
    try {
      co_await std::move(waiting);
    } catch (const cofork::CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
    CHECK(throws_logic_error([&] { event.blocking_wait(); }));
  };
  cofork::run(main);
}
