// The end of the stream, whoever holds spare ends, and peers that are killed.
#include <algorithm>
#include <chrono>
#include <cofork/ipc/pipe.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <ctime>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "ipc/connection_harness.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace connection_test;
using namespace std::chrono_literals;

namespace {

using Numbers = ipc::Connection<int>;

void wait_for_ever() {
  while (true) ::pause();
}

int sum_of(const Numbers& connection) {
  int sum = 0;
  try {
    while (true) sum += connection.blocking_recv();
  } catch (const EndOfFile&) {
  }
  return sum;
}

Task<int> async_sum_of(Numbers connection) {
  int sum = 0;
  while (const auto value = co_await connection.next()) sum += *value;
  co_return sum;
}

}  // namespace

TEST_CASE("the stream ends although the parent still has the end that it gave to a child") {
  auto [a, b] = ipc::pipe<int>();
  Child child([b] {
    for (int i = 1; i <= 4; ++i) b.blocking_send(i);
  });
  CHECK(sum_of(a) == 10);
  CHECK(child.wait() == 0);
  CHECK_FALSE(b.closed());
}

TEST_CASE("the same is so for a coroutine that waits already when the child ends") {
  auto [a, b] = ipc::pipe<int>();
  auto [go, went] = ipc::pipe<int>();
  Child child([b, go] {
    static_cast<void>(go.blocking_recv());
    b.blocking_send(5);
  });
  const auto main = [a, went]() -> Task<int> {
    Future<int> summing = spawn(async_sum_of(a));
    co_await sleep(5ms);
    co_await went.send(0);
    co_return co_await std::move(summing);
  };
  CHECK(run(main) == 5);
}

TEST_CASE("the same is so for a child that is killed") {
  auto [a, b] = ipc::pipe<int>();
  Child child([b] {
    b.blocking_send(3);
    wait_for_ever();
  });
  CHECK(a.blocking_recv() == 3);
  CHECK_FALSE(a.blocking_poll(5ms));
  child.kill();
  CHECK(a.blocking_poll(30s));
  CHECK_THROWS_AS(a.blocking_recv(), EndOfFile);
}

TEST_CASE("two children talk, and their parent's copies do not keep them waiting") {
  auto [a, b] = ipc::pipe<int>();
  Child sender([a] {
    for (int i = 0; i < 100; ++i) a.blocking_send(i);
  });
  auto [done, tell] = ipc::pipe<int>();
  Child receiver([b, tell] { tell.blocking_send(sum_of(b)); });
  // Waiting here is what tells that the parent's ends are spare.
  CHECK(done.blocking_recv() == 4950);
  CHECK(sender.wait() == 0);
  CHECK(receiver.wait() == 0);
}

TEST_CASE("a sender that waits for room is told when all receivers are gone, spare ends or not") {
  auto [a, b] = ipc::pipe<std::string>();
  Child child([b] {
    static_cast<void>(b.blocking_recv());
    wait_for_ever();
  });
  std::thread killer([&] {
    std::this_thread::sleep_for(20ms);
    child.kill();
  });
  int error = 0;
  try {
    while (true) a.blocking_send(std::string(10000, 'x'));
  } catch (const std::system_error& thrown) {
    error = thrown.code().value();
  }
  killer.join();
  CHECK(error == EPIPE);
}

TEST_CASE("an end that its owner uses counts, although it was given away, too") {
  auto [a, b] = ipc::pipe<int>();
  Child child([b] { b.blocking_send(1); });
  b.blocking_send(2);
  CHECK(child.wait() == 0);
  CHECK(a.blocking_recv() + a.blocking_recv() == 3);
  CHECK_FALSE(a.blocking_poll(5ms));
  b.blocking_send(3);
  CHECK(a.blocking_recv() == 3);
  b.close();
  CHECK_THROWS_AS(a.blocking_recv(), EndOfFile);
}

TEST_CASE("a spare end can be used later, and given to the next child") {
  auto [a, b] = ipc::pipe<int>();
  {
    Child first([b] { b.blocking_send(1); });
    CHECK(sum_of(a) == 1);
  }
  {
    Child second([b] { b.blocking_send(2); });
    CHECK(sum_of(a) == 2);
  }
  CHECK_THROWS_AS(a.blocking_recv(), EndOfFile);
  b.blocking_send(3);
  CHECK(a.blocking_recv() == 3);
  CHECK_FALSE(a.blocking_poll());
  b.close();
  CHECK_THROWS_AS(a.blocking_recv(), EndOfFile);
}

TEST_CASE("a grandchild keeps the stream open after its parent has ended") {
  auto [a, b] = ipc::pipe<int>();
  auto [result, tell] = ipc::pipe<int>();
  Child child([b, tell] {
    // A copy that this process gives away, never uses, and takes with it.
    const pid_t grandchild = [&] {
      detail::GivenHandles given(detail::handles_within(&b, sizeof b));
      const pid_t pid = ::fork();
      if (pid == 0) given.in_child();
      return pid;
    }();
    if (grandchild == 0) {
      // The first answer comes when its parent is gone.
      for (int i = 0; i < 3; ++i) b.blocking_send(b.blocking_recv() + 1);
      ::_exit(0);
    }
    tell.blocking_send(grandchild);
  });
  const int grandchild = result.blocking_recv();
  CHECK(child.wait() == 0);
  for (int i = 0; i < 3; ++i) {
    a.blocking_send(i);
    CHECK(a.blocking_recv() == i + 1);
  }
  CHECK_THROWS_AS(a.blocking_recv(), EndOfFile);
  CHECK(support::eventually([&] { return !support::is_running(grandchild); }));
}

TEST_CASE("a child that was not given a connection is told so") {
  auto [a, b] = ipc::pipe<int>();
  // Not in the captures, where it would be found.
  static Numbers* not_given = nullptr;
  not_given = &a;
  Child child([b] {
    std::string said;
    try {
      not_given->blocking_recv();
    } catch (const std::logic_error& error) {
      said = error.what();
    }
    if (said.find("was not given to this process") == std::string::npos) ::_exit(1);
    not_given->close();
    // Its descriptor's number is somebody else's by now: closing it did no harm.
    b.blocking_send(1);
  });
  CHECK(a.blocking_recv() == 1);
  CHECK(child.wait() == 0);
}

TEST_CASE("a copy of an end by a plain fork works, too") {
  auto [a, b] = ipc::pipe<int>();
  const pid_t pid = ::fork();
  if (pid == 0) {
    detail::forget_loop();
    b.blocking_send(4);
    ::_exit(0);
  }
  CHECK(a.blocking_recv() == 4);
  b.close();
  CHECK_THROWS_AS(a.blocking_recv(), EndOfFile);
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
}

TEST_CASE("children of a running loop have loops and connections of their own") {
  auto [a, b] = ipc::pipe<int>();
  auto main = [mine = std::move(a), theirs = std::move(b)]() mutable -> Task<int> {
    // There is a watch on this end already, which the child must leave alone.
    const bool early = co_await mine.poll(1ms);
    const bool early_too = co_await theirs.poll(1ms);
    Child child([theirs] {
      const auto in_child = [](Numbers connection) -> Task<> {
        const int value = co_await connection.recv();
        co_await connection.send(value + 1);
      };
      run(in_child(theirs));
    });
    theirs.close();
    co_await mine.send(41);
    const int answer = co_await mine.recv();
    const auto end = co_await mine.next();
    co_return !early && !early_too && !end ? answer : -1;
  };
  CHECK(run(std::move(main)) == 42);
}

TEST_CASE("senders killed at any moment tear no message, and the others' all arrive") {
  struct Message {
    int sender = 0;
    int number = 0;
    std::string text;
  };
  auto [reader, writer] = ipc::pipe<Message>({.duplex = false});
  const auto send_for_ever = [](const ipc::Connection<Message>& to, int sender, int limit) {
    for (int i = 0; i < limit; ++i) {
      // Some in the packet, some in a file.
      const std::size_t size = i % 7 == 0 ? 400000 : 100;
      to.blocking_send({sender, i, std::string(size, static_cast<char>('a' + i % 26))});
    }
  };
  Child survivor([to = writer, send_for_ever] { send_for_ever(to, 0, 300); });
  std::vector<int> next(20, 0);
  bool right = true;
  const auto receive = [&, from = &reader] {
    const Message message = from->blocking_recv();
    right &= message.number == next[static_cast<std::size_t>(message.sender)]++;
    right &= message.text.size() == (message.number % 7 == 0 ? 400000U : 100U);
    right &= message.text.find_first_not_of(static_cast<char>('a' + message.number % 26)) == std::string::npos;
  };
  for (int victim = 1; victim < 20; ++victim) {
    Child child([to = writer, send_for_ever, victim] { send_for_ever(to, victim, 1 << 30); });
    for (int i = 0; i < victim * 2; ++i) receive();
    child.kill();
  }
  try {
    while (true) receive();
  } catch (const EndOfFile&) {
  }
  CHECK(right);
  CHECK(next[0] == 300);
  CHECK(survivor.wait() == 0);
}

TEST_CASE("a receiver killed in the middle takes one message with it at most") {
  auto [a, b] = ipc::pipe<std::string>();
  const std::string text(500000, 'x');
  int received = 0;
  for (int round = 0; round < 10; ++round) {
    Child child([b] {
      while (true) static_cast<void>(b.blocking_recv());
    });
    for (int i = 0; i < 5 + round; ++i) a.blocking_send(text);
    child.kill();
  }
  // What they left is whole.
  while (b.blocking_poll()) {
    CHECK(b.blocking_recv() == text);
    ++received;
  }
  CHECK(received <= 145);
  a.blocking_send("last");
  CHECK(b.blocking_recv() == "last");
}

TEST_CASE("an idle reader takes no processor time") {
  auto [a, b] = ipc::pipe<int>();
  Child child([b] {
    static_cast<void>(b.blocking_recv());
    b.blocking_send(1);
  });
  const auto main = [a]() -> Task<double> {
    const auto nobody_reads = [](Numbers connection) -> Task<> { static_cast<void>(co_await connection.recv()); };
    Future<void> receiving = spawn(nobody_reads(a));
    co_await sleep(10ms);
    // The least of some: a virtual processor that is taken away meanwhile may count as used.
    double least = 1;
    for (int i = 0; i < 5 && least >= 0.1; ++i) {
      const std::clock_t start = std::clock();
      co_await sleep(300ms);
      least = std::min(least, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    co_await a.send(1);
    co_await receiving;
    co_return least;
  };
  CHECK(run(main) < 0.1);
}
