#include <signal.h>
#include <uv.h>
#include <cofork/runtime/event.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

namespace {

// A timer of the user's own on the loop's libuv loop.
class OwnTimer {
 public:
  OwnTimer() {
    timer_.data = this;
    started_ = uv_timer_init(Loop::current().uv(), &timer_) == 0 &&
               uv_timer_start(
                   &timer_, [](uv_timer_t* timer) { ++static_cast<OwnTimer*>(timer->data)->ticks; }, 1, 1) == 0;
  }
  bool started() const { return started_; }
  Task<> close() {
    uv_close(reinterpret_cast<uv_handle_t*>(&timer_),
             [](uv_handle_t* handle) { static_cast<OwnTimer*>(handle->data)->closed_.set(); });
    co_await closed_.wait();
  }

  int ticks = 0;

 private:
  uv_timer_t timer_;
  Event closed_;
  bool started_;
};

}  // namespace

TEST_CASE("there is a current loop only while one runs") {
  CHECK_THROWS_AS(Loop::current(), std::logic_error);
  run([]() -> Task<> {
    Loop* const loop = &Loop::current();
    co_await turns(1);
    CHECK(&Loop::current() == loop);
  });
  CHECK_THROWS_AS(Loop::current(), std::logic_error);
}

TEST_CASE("a second loop on a thread is an error") {
  Loop loop;
  CHECK_THROWS_AS(Loop(), std::logic_error);
  CHECK(&Loop::current() == &loop);
}

TEST_CASE("a posted function runs in a later turn, in order") {
  run([]() -> Task<> {
    std::vector<int> order;
    Event ran;
    Loop& loop = Loop::current();
    loop.post([&] { order.push_back(1); });
    loop.post([&] {
      order.push_back(2);
      loop.post([&] {
        order.push_back(4);
        ran.set();
      });
      order.push_back(3);
    });
    CHECK(order.empty());
    co_await ran.wait();
    CHECK(order == std::vector{1, 2, 3, 4});
  });
}

TEST_CASE("a posted function is destroyed after it ran, or with the loop") {
  const auto token = std::make_shared<int>(0);
  run([&]() -> Task<> {
    Event ran;
    Loop::current().post([token, &ran] { ran.set(); });
    co_await ran.wait();
    co_await turns(1);
    CHECK(token.use_count() == 1);
    Loop::current().post([token] {});
  });
  CHECK(token.use_count() == 1);
}

TEST_CASE("a posted function can spawn") {
  run([]() -> Task<> {
    Event ended;
    const auto body = [&]() -> Task<> {
      co_await turns(2);
      ended.set();
    };
    Loop::current().post([&] { (void)spawn(body()); });
    co_await ended.wait();
  });
}

TEST_CASE("a post of another thread wakes a loop that sleeps", "[threads]") {
  run([]() -> Task<> {
    Event event;
    Loop& loop = Loop::current();
    std::thread other([&] { loop.post([&] { event.set(); }); });
    co_await event.wait();
    other.join();
  });
}

TEST_CASE("many threads can post at once, and nothing is lost or reordered", "[threads]") {
  static constexpr int threads = 4;
  static constexpr int posts = 5000;
  run([]() -> Task<> {
    std::array<std::vector<int>, threads> received;
    Event all;
    int total = 0;
    Loop& loop = Loop::current();
    const std::thread::id own = std::this_thread::get_id();
    bool elsewhere = false;
    std::vector<std::thread> others;
    for (std::size_t number = 0; number < threads; ++number) {
      others.emplace_back([&, number] {
        for (int value = 0; value < posts; ++value) {
          loop.post([&, number, value] {
            elsewhere |= std::this_thread::get_id() != own;
            received[number].push_back(value);
            if (++total == threads * posts) all.set();
          });
        }
      });
    }
    co_await all.wait();
    for (std::thread& other : others) other.join();
    CHECK_FALSE(elsewhere);
    for (const std::vector<int>& values : received) {
      REQUIRE(values.size() == posts);
      CHECK(std::is_sorted(values.begin(), values.end()));
    }
  });
}

TEST_CASE("two loops post to one another", "[threads]") {
  static constexpr int rounds = 500;
  struct Side {
    Loop* loop = nullptr;
    int got = 0;
    Event got_all;
  };
  Side sides[2];
  std::atomic<int> ready = 0, done_posting = 0;
  // What was posted may run before `post` has returned, which it must before the loop ends.
  const auto talk = [&](Side& own, Side& other) -> Task<> {
    own.loop = &Loop::current();
    ++ready;
    while (ready < 2) co_await sleep(1ms);
    for (int round = 0; round < rounds; ++round) {
      other.loop->post([&other] {
        if (++other.got == rounds) other.got_all.set();
      });
    }
    ++done_posting;
    co_await own.got_all.wait();
    while (done_posting < 2) co_await sleep(1ms);
  };
  std::thread thread([&] { run(talk(sides[1], sides[0])); });
  run(talk(sides[0], sides[1]));
  thread.join();
  CHECK(sides[0].got == rounds);
  CHECK(sides[1].got == rounds);
}

TEST_CASE("an exception that leaves a posted function ends the program") {
  const auto child = support::in_child([] {
    run([]() -> Task<> {
      Loop::current().post([] { throw std::runtime_error("posted"); });
      co_await sleep(1h);
    });
  });
  INFO(child.output);
  CHECK(child.signal == SIGABRT);
}

TEST_CASE("a user's own handles work on the loop's libuv loop") {
  run([]() -> Task<> {
    OwnTimer timer;
    REQUIRE(timer.started());
    while (timer.ticks < 3) co_await sleep(1ms);
    co_await timer.close();
  });
}

TEST_CASE("coroutines that always yield do not keep a user's own handle waiting") {
  run([]() -> Task<> {
    OwnTimer timer;
    REQUIRE(timer.started());
    bool ended = false;
    const auto busy = [&]() -> Task<> {
      while (!ended) co_await yield_now();
    };
    Future<void> other = spawn(busy());
    while (timer.ticks < 3) co_await yield_now();
    ended = true;
    co_await other;
    co_await timer.close();
  });
}

TEST_CASE("a posted function runs although coroutines always yield") {
  run([]() -> Task<> {
    bool posted = false;
    Loop::current().post([&] { posted = true; });
    while (!posted) co_await yield_now();
  });
}

TEST_CASE("a handle that is still open when run ends is closed and reported") {
  const auto child = support::in_child([] {
    uv_timer_t timer;
    run([&]() -> Task<> {
      support::require(uv_timer_init(Loop::current().uv(), &timer) == 0, "uv_timer_init");
      support::require(uv_timer_start(
                           &timer, [](uv_timer_t*) {}, 3'600'000, 0) == 0,
                       "uv_timer_start");
      co_return;
    });
    support::require(uv_is_closing(reinterpret_cast<uv_handle_t*>(&timer)) != 0, "closed");
  });
  INFO(child.output);
  CHECK(child.succeeded());
  CHECK(child.output.find("closed 1 libuv handle(s)") != std::string::npos);
}

TEST_CASE("a loop that has nothing to do sleeps") {
  run([]() -> Task<> {
    uv_check_t turn;
    int turns = 0;
    turn.data = &turns;
    REQUIRE(uv_check_init(Loop::current().uv(), &turn) == 0);
    REQUIRE(uv_check_start(&turn, [](uv_check_t* self) { ++*static_cast<int*>(self->data); }) == 0);
    co_await sleep(200ms);
    const int while_it_slept = turns;
    Event closed;
    turn.data = &closed;
    uv_close(reinterpret_cast<uv_handle_t*>(&turn), [](uv_handle_t* self) { static_cast<Event*>(self->data)->set(); });
    co_await closed.wait();
    CHECK(while_it_slept >= 1);
    CHECK(while_it_slept < 20);
  });
}
