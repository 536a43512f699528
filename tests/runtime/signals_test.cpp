#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/signals.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;

namespace {
volatile sig_atomic_t handled = 0;
void handle(int) { handled = handled + 1; }

void (*handler_of(int number))(int) {
  struct sigaction action;
  ::sigaction(number, nullptr, &action);
  return action.sa_handler;
}
}  // namespace

TEST_CASE("signals arrive, also those from before the first next") {
  run([]() -> Task<> {
    Stream<int> arrived = signals({SIGHUP, SIGUSR1});
    ::raise(SIGHUP);
    const auto first = co_await arrived.next();
    CHECK(first == SIGHUP);
    ::raise(SIGUSR1);
    co_await sleep(2ms);
    ::raise(SIGHUP);
    const auto second = co_await arrived.next();
    const auto third = co_await arrived.next();
    CHECK(second == SIGHUP);
    CHECK(third == SIGUSR1);
  });
  CHECK(handler_of(SIGHUP) == SIG_DFL);
}

TEST_CASE("a handler that rings only after its signal was taken does not end the stream") {
  run([]() -> Task<> {
    const int bell = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    ::close(bell);  // for the next descriptor that is opened
    Stream<int> arrived = signals({SIGUSR1});
    auto next = spawn(arrived.next());
    co_await sleep(1ms);
    const std::uint64_t late = 1;
    CHECK(::write(bell, &late, sizeof late) == sizeof late);
    co_await sleep(1ms);
    CHECK_FALSE(next.done());
    ::raise(SIGUSR1);
    const auto taken = co_await std::move(next);
    CHECK(taken == SIGUSR1);
  });
}

TEST_CASE("a signal that waits to be taken is merged with the next of its number") {
  run([]() -> Task<> {
    Stream<int> arrived = signals({SIGUSR1});
    for (int i = 0; i < 100; ++i) {
      ::raise(SIGUSR1);
      co_await support::turns(1);
    }
    co_await sleep(2ms);
    const auto one = co_await arrived.next();
    CHECK(one == SIGUSR1);
    const bool no_more = co_await support::throws<TimeoutError>(wait_for(arrived.next(), 5ms));
    CHECK(no_more);
    ::raise(SIGUSR1);
    const auto another = co_await arrived.next();
    CHECK(another == SIGUSR1);
  });
}

TEST_CASE("each stream that watches a signal gets it") {
  run([]() -> Task<> {
    Stream<int> one = signals({SIGUSR1, SIGUSR2});
    {
      Stream<int> other = signals({SIGUSR1});
      ::kill(::getpid(), SIGUSR1);
      const auto first = co_await one.next();
      const auto second = co_await other.next();
      CHECK(first == SIGUSR1);
      CHECK(second == SIGUSR1);
    }
    ::kill(::getpid(), SIGUSR1);
    const auto again = co_await one.next();
    CHECK(again == SIGUSR1);
  });
}

TEST_CASE("what the program had set for a signal is restored when the stream ends") {
  handled = 0;
  const auto before = ::signal(SIGUSR1, handle);
  const auto ignored_before = ::signal(SIGUSR2, SIG_IGN);
  run([]() -> Task<> {
    {
      Stream<int> arrived = signals({SIGUSR1, SIGUSR2});
      Stream<int> also = signals({SIGUSR1});
      ::raise(SIGUSR1);
      const auto number = co_await arrived.next();
      CHECK(number == SIGUSR1);
      CHECK(handled == 0);
      arrived.close();
      const auto end = co_await arrived.next();
      CHECK(!end);
      ::raise(SIGUSR1);
      const auto still = co_await also.next();
      CHECK(still == SIGUSR1);
      CHECK(handled == 0);
    }
    ::raise(SIGUSR1);
    CHECK(handled == 1);
    CHECK(handler_of(SIGUSR2) == SIG_IGN);
  });
  ::signal(SIGUSR1, before);
  ::signal(SIGUSR2, ignored_before);
}

TEST_CASE("closing the stream ends the wait of its consumer") {
  run([]() -> Task<> {
    Stream<int> arrived = signals({SIGUSR1});
    const auto wait = [&]() -> Task<bool> {
      auto number = co_await arrived.next();
      co_return number.has_value();
    };
    Future<bool> waiting = spawn(wait());
    co_await support::turns(2);
    arrived.close();
    const bool got = co_await waiting;
    CHECK(!got);
  });
}

TEST_CASE("a stream of signals may outlive its loop") {
  std::unique_ptr<Stream<int>> arrived;
  run([&]() -> Task<> {
    arrived = std::make_unique<Stream<int>>(signals({SIGUSR1}));
    co_return;
  });
  ::raise(SIGUSR1);
  run([&]() -> Task<> {
    const auto number = co_await arrived->next();
    CHECK(number == SIGUSR1);
    const bool nothing = co_await support::throws<TimeoutError>(wait_for(arrived->next(), 2ms));
    CHECK(nothing);
  });
  run([&]() -> Task<> {
    const bool nothing = co_await support::throws<TimeoutError>(wait_for(arrived->next(), 2ms));
    CHECK(nothing);
  });
  arrived.reset();
  CHECK(handler_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a program that watches SIGINT is not cancelled by it, until it stops watching") {
  const auto child = support::in_child(
      [] {
        int got = 0;
        bool cancelled = false;
        const auto main = [&]() -> Task<> {
          {
            Stream<int> interrupts = signals({SIGINT});
            for (int i = 0; i < 3; ++i) {
              ::raise(SIGINT);
              auto number = co_await interrupts.next();
              if (number == SIGINT) ++got;
            }
          }
          ::raise(SIGINT);
          try {
            co_await sleep(1h);
          } catch (const CancelledError&) {
            cancelled = true;
            throw;
          }
        };
        bool interrupted = false;
        try {
          run(main());
        } catch (const KeyboardInterrupt&) {
          interrupted = true;
        }
        support::require(got == 3, "three interrupts in the stream");
        support::require(cancelled && interrupted, "the fourth cancelled main");
      },
      30s);
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a forked child watches the same signals as its parent, each its own") {
  run([]() -> Task<> {
    Stream<int> ours = signals({SIGUSR1});
    const auto child = support::in_child(
        [] {
          detail::forget_loop();
          ::signal(SIGUSR1, SIG_DFL);
          run([]() -> Task<> {
            Stream<int> theirs = signals({SIGUSR1});
            ::raise(SIGUSR1);
            const auto number = co_await theirs.next();
            support::require(number == SIGUSR1, "the child got it");
          });
        },
        30s);
    INFO(child.output);
    CHECK(child.succeeded());
    const bool nothing = co_await support::throws<TimeoutError>(wait_for(ours.next(), 5ms));
    CHECK(nothing);
    ::raise(SIGUSR1);
    const auto number = co_await ours.next();
    CHECK(number == SIGUSR1);
  });
}

TEST_CASE("a stream of SIGINT goes on when the main of another thread's loop ends") {
  const auto child = support::in_child(
      [] {
        std::atomic<bool> watching = false, main_ended = false, got = false;
        std::thread other;
        run([&]() -> Task<> {
          other = std::thread([&] {
            run([&]() -> Task<> {
              Stream<int> interrupts = signals({SIGINT});
              watching = true;
              while (!main_ended) co_await sleep(1ms);
              ::kill(::getpid(), SIGINT);
              const auto number = co_await interrupts.next();
              got = number == SIGINT;
            });
          });
          while (!watching) co_await sleep(1ms);
        });
        main_ended = true;
        other.join();
        support::require(got, "the other loop got it");
        support::require(handler_of(SIGINT) == SIG_DFL, "and restored the default");
      },
      30s);
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("after a stream of SIGINT the signal kills again outside of run") {
  const auto child = support::in_child(
      [] {
        run([]() -> Task<> {
          Stream<int> interrupts = signals({SIGINT});
          ::raise(SIGINT);
          co_await interrupts.next();
        });
        ::raise(SIGINT);
      },
      30s);
  CHECK(child.signal == SIGINT);
}

TEST_CASE("signals that cannot be watched are std::invalid_argument") {
  run([]() -> Task<> {
    CHECK_THROWS_AS(signals({SIGKILL}), std::invalid_argument);
    CHECK_THROWS_AS(signals({SIGUSR1, SIGSTOP}), std::invalid_argument);
    CHECK_THROWS_AS(signals({SIGSEGV}), std::invalid_argument);
    CHECK_THROWS_AS(signals({0}), std::invalid_argument);
    CHECK_THROWS_AS(signals({-1}), std::invalid_argument);
    CHECK_THROWS_AS(signals({100}), std::invalid_argument);
    CHECK_THROWS_AS(signals({}), std::invalid_argument);
    CHECK(handler_of(SIGUSR1) == SIG_DFL);
    co_return;
  });
  CHECK_THROWS_AS(signals({SIGUSR1}), std::logic_error);
}
