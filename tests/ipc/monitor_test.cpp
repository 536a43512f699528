#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cofork/ipc/monitor_wait.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <filesystem>
#include <functional>
#include <iterator>
#include <thread>
#include <utility>

#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace cofork::detail;
using namespace std::chrono_literals;

namespace {

struct Shared {
  std::atomic<std::uint64_t> value;
  std::atomic<std::uint64_t> gone;
};

class Counter final : public Monitor {
 public:
  Counter() : Monitor("counter", 1000, sizeof(Shared)) {}
  explicit Counter(ipc::Reader& reader) : Monitor("counter", 1000, sizeof(Shared), reader) {}
  Shared& shared() { return state<Shared>(); }
  std::atomic<std::uint64_t>& own_word() { return member(join()).word[0]; }
  void add(std::uint64_t n) {
    shared().value.fetch_add(n);
    changed();
  }
  /// Called once, when a member is taken out.
  std::function<void()> when_gone;

 private:
  void member_gone(std::uint32_t place) noexcept override {
    shared().gone.fetch_add(member(place).word[0]);
    if (when_gone) std::exchange(when_gone, nullptr)();
  }
};

using CounterPtr = IntrusivePtr<Counter>;

/// A raw fork: the child runs `body` and ends without any cleaning up.
template <class F>
pid_t fork_child(F body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  [&]() noexcept { body(); }();  // an exception must not end up in a second run of the tests
  ::_exit(0);
}

void reap(pid_t pid) { ::waitpid(pid, nullptr, 0); }

}  // namespace

TEST_CASE("a monitor's change wakes a thread that sleeps in another process") {
  const CounterPtr counter(new Counter);
  const pid_t child = fork_child([&] {
    for (std::uint64_t i = 0; i < 100; ++i) {
      blocking_wait_until(
          *counter, [&] { return counter->shared().value == 2 * i + 1; }, std::nullopt);
      counter->add(1);
    }
  });
  for (std::uint64_t i = 0; i < 100; ++i) {
    counter->add(1);
    CHECK(blocking_wait_until(
        *counter, [&] { return counter->shared().value == 2 * i + 2; }, std::nullopt));
  }
  reap(child);
}

TEST_CASE("a monitor's change wakes coroutines that sleep in another process") {
  const CounterPtr counter(new Counter);
  const pid_t child = fork_child([&] {
    blocking_wait_until(
        *counter, [&] { return counter->shared().value == 2; }, std::nullopt);
    counter->add(1);
  });
  run([&]() -> Task<> {
    const auto wait_for_three = [&]() -> Task<bool> {
      co_return co_await wait_until(
          counter, [&] { return counter->shared().value == 3; }, std::nullopt);
    };
    Future<bool> first = spawn(wait_for_three());
    Future<bool> second = spawn(wait_for_three());
    co_await yield_now();
    counter->add(2);
    const bool both = co_await first && co_await second;
    CHECK(both);
  });
  reap(child);
}

TEST_CASE("a wait for a monitor ends at its deadline") {
  const CounterPtr counter(new Counter);
  CHECK_FALSE(blocking_wait_until(
      *counter, [] { return false; }, deadline_of(5ms)));
  CHECK_FALSE(blocking_wait_until(
      *counter, [] { return false; }, deadline_of(-5ms)));
  CHECK(blocking_wait_until(
      *counter, [] { return true; }, deadline_of(-5ms)));
  run([&]() -> Task<> {
    const bool in_time = co_await wait_until(
        counter, [] { return false; }, deadline_of(5ms));
    CHECK_FALSE(in_time);
  });
}

TEST_CASE("a wait for a monitor that is cancelled ends at once") {
  const CounterPtr counter(new Counter);
  run([&]() -> Task<> {
    Future<bool> waiting = spawn(wait_until(
        counter, [] { return false; }, std::nullopt));
    co_await yield_now();
    waiting.cancel();
    bool cancelled = false;
    try {
      co_await waiting;
    } catch (const CancelledError&) {
      cancelled = true;
    }
    CHECK(cancelled);
  });
}

TEST_CASE("the death of a member wakes who sleeps, and what it held is taken back") {
  const CounterPtr counter(new Counter);
  for (const bool with_loop : {false, true}) {
    counter->shared().gone = 0;
    counter->shared().value = 0;
    const pid_t child = fork_child([&] {
      counter->own_word() = 7;
      counter->add(1);
      ::pause();
    });
    CHECK(blocking_wait_until(
        *counter, [&] { return counter->shared().value == 1; }, std::nullopt));
    const auto seen = [&] { return counter->shared().gone == 7; };
    if (with_loop) {
      run([&]() -> Task<> {
        Future<bool> waiting = spawn(wait_until(counter, seen, std::nullopt));
        co_await yield_now();
        ::kill(child, SIGKILL);
        const bool gone = co_await waiting;
        CHECK(gone);
      });
    } else {
      std::thread killer([&] { ::kill(child, SIGKILL); });
      CHECK(blocking_wait_until(*counter, seen, std::nullopt));
      killer.join();
    }
    reap(child);
  }
}

TEST_CASE("the death of a member that came while others went to sleep wakes them") {
  for (const bool with_loop : {false, true}) {
    const CounterPtr counter(new Counter);
    reap(fork_child([&] { counter->own_word() = 1; }));
    std::array<int, 2> told, came;
    REQUIRE((::pipe(told.data()) == 0 && ::pipe(came.data()) == 0));
    const pid_t child = fork_child([&] {
      char byte;
      if (::read(told[0], &byte, 1) != 1) return;
      counter->own_word() = 7;
      if (::write(came[1], &byte, 1) == 1) ::pause();
    });
    bool both = false;
    counter->when_gone = [&] {
      char byte = 0;
      both = ::write(told[1], &byte, 1) == 1 && ::read(came[0], &byte, 1) == 1;
    };
    // Before it sleeps, when it has looked who there is.
    const auto attempt = [&] {
      if (both) {
        both = false;
        ::kill(child, SIGKILL);
        reap(child);
      }
      return counter->shared().gone == 8;
    };
    if (with_loop) {
      run([&]() -> Task<> {
        const bool seen = co_await wait_until(counter, attempt, deadline_of(30s));
        CHECK(seen);
      });
    } else {
      CHECK(blocking_wait_until(*counter, attempt, deadline_of(30s)));
    }
    for (const int end : {told[0], told[1], came[0], came[1]}) ::close(end);
  }
}

TEST_CASE("the death of a member that had come to the place of a dead one wakes who sleeps") {
  const CounterPtr counter(new Counter);
  const pid_t first = fork_child([&] {
    counter->own_word() = 5;
    counter->add(1);
    ::pause();
  });
  CHECK(blocking_wait_until(
      *counter, [&] { return counter->shared().value == 1; }, std::nullopt));
  const pid_t second = fork_child([&] {
    counter->add(own_identity());
    ::pause();
  });
  CHECK(blocking_wait_until(
      *counter, [&] { return counter->shared().value > 1; }, std::nullopt));

  BlockingSleep sleep(*counter, deadline_of(30s));
  sleep.announce();
  ::kill(first, SIGKILL);
  reap(first);
  // As it is when the second one is interrupted in the middle of taking over the place.
  counter->member(0).identity = counter->shared().value - 1;
  CHECK(sleep.sleep());
  sleep.announce();
  CHECK(counter->shared().gone == 0);
  ::kill(second, SIGKILL);
  reap(second);
  CHECK(sleep.sleep());
  sleep.announce();
  CHECK(counter->shared().gone == 5);
}

TEST_CASE("a monitor that has ended leaves no descriptors to the loop that has waited for it") {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  run([&]() -> Task<> {
    std::ptrdiff_t before = 0;
    for (int i = 0; i < 5; ++i) {
      CounterPtr counter(new Counter);
      const pid_t child = fork_child([&] {
        counter->join();
        counter->add(1);
        ::pause();
      });
      // The first time it waits for the child, the second time it watches it.
      bool seen = co_await wait_until(
          counter, [&] { return counter->shared().value == 1; }, std::nullopt);
      CHECK(seen);
      seen = co_await wait_until(
          counter, [] { return false; }, deadline_of(1ms));
      CHECK_FALSE(seen);
      counter = CounterPtr();
      ::kill(child, SIGKILL);
      reap(child);
      if (i == 1) before = descriptors();
    }
    CHECK(descriptors() == before);
  });
}

TEST_CASE("a monitor's lock is taken from an owner that was killed") {
  const CounterPtr counter(new Counter);
  const pid_t child = fork_child([&] {
    counter->lock();
    counter->add(1);
    ::pause();
  });
  CHECK(blocking_wait_until(
      *counter, [&] { return counter->shared().value == 1; }, std::nullopt));
  ::kill(child, SIGKILL);
  {
    const MonitorLock lock(*counter);
    CHECK(counter->shared().value == 1);
  }
  reap(child);
}

TEST_CASE("a monitor's lock excludes processes and threads from one another") {
  const CounterPtr counter(new Counter);
  const auto count = [&] {
    for (int i = 0; i < 20'000; ++i) {
      const MonitorLock lock(*counter);
      counter->shared().value.store(counter->shared().value.load(std::memory_order_relaxed) + 1,
                                    std::memory_order_relaxed);
    }
  };
  const pid_t child = fork_child(count);
  std::thread thread(count);
  count();
  thread.join();
  reap(child);
  CHECK(counter->shared().value == 60'000);
}

TEST_CASE("places of processes that ended unnoticed are given to others, with the lock that one of them held") {
  const CounterPtr counter(new Counter);
  for (std::uint32_t i = 0; i < MonitorHeader::max_members + 10; ++i) {
    reap(fork_child([&] {
      counter->own_word() = 1;
      counter->lock();
    }));
  }
  CHECK(counter->join() < MonitorHeader::max_members);
  CHECK(counter->shared().gone == 11);
  const MonitorLock lock(*counter);
}

TEST_CASE("a monitor that was not given to a child says so") {
  const CounterPtr counter(new Counter);
  const auto child = support::in_child([&] {
    GivenHandles({}).in_child();
    bool refused = false;
    try {
      counter->join();
    } catch (const std::logic_error&) {
      refused = true;
    }
    support::require(refused, "it refuses");
  });
  CHECK(child.succeeded());
}

TEST_CASE("a monitor that comes in a message shares the memory") {
  const CounterPtr counter(new Counter);
  ipc::BufferWriter writer;
  counter->encode(writer);
  ipc::Reader reader(writer.message(), writer.descriptors());
  const CounterPtr copy(new Counter(reader));
  counter->add(3);
  CHECK(copy->shared().value == 3);
  CHECK(copy->join() != counter->join());
}

TEST_CASE("what is no monitor is refused") {
  ipc::BufferWriter writer;
  const ipc::MemoryFile file = ipc::MemoryFile::create("other", 100'000);
  writer.descriptor(file.descriptor());
  writer.descriptor(file.descriptor());
  ipc::Reader unsealed(writer.message(), writer.descriptors());
  CHECK_THROWS_AS(Counter(unsealed), DecodeError);
}
