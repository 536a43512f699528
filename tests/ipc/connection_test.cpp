#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <cofork/ipc/pipe.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "ipc/connection_harness.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;
using namespace connection_test;
using namespace std::chrono_literals;

namespace {

using Text = ipc::Connection<std::string>;
using Clock = std::chrono::steady_clock;

/// Answers with what it receives until the end of the stream.
void echo(const Text& connection) {
  try {
    while (true) connection.blocking_send(connection.blocking_recv());
  } catch (const EndOfFile&) {
  }
}

struct Mixed {
  int number = 0;
  std::string text;
  std::vector<double> values;
  std::map<int, std::string> names;
  bool operator==(const Mixed&) const = default;
};

}  // namespace

TEST_CASE("a child answers over a pipe, from nothing to 16 MiB") {
  auto [a, b] = ipc::pipe<std::string>();
  Child child([b] { echo(b); });
  b.close();
  for (const std::size_t size : {0, 1, 10, 4096, 65536, 262143, 262144, 300000, 1 << 20, 16 << 20}) {
    const std::string sent(size, 'x');
    a.blocking_send(sent);
    const std::string received = a.blocking_recv();
    CHECK(received.size() == size);
    CHECK(received == sent);
  }
  a.close();
  CHECK(child.wait() == 0);
}

TEST_CASE("any type with a codec travels over a pipe") {
  auto [a, b] = ipc::pipe<Mixed>();
  const Mixed sent = {3, "three", {3.0, 3.5}, {{3, "three"}}};
  a.blocking_send(sent);
  CHECK(b.blocking_recv() == sent);
  auto [c, d] = ipc::pipe<std::variant<int, std::string>>({.duplex = false});
  d.blocking_send(3);
  d.blocking_send("three");
  CHECK(std::get<int>(c.blocking_recv()) == 3);
  CHECK(std::get<std::string>(c.blocking_recv()) == "three");
}

TEST_CASE("messages of more than 100 MiB arrive", "[limit:120]") {
  auto [a, b] = ipc::pipe<std::vector<std::uint64_t>>();
  std::vector<std::uint64_t> sent((std::size_t{110} << 20) / sizeof(std::uint64_t));
  std::iota(sent.begin(), sent.end(), std::uint64_t{1} << 40);
  a.blocking_send(sent);
  const std::vector<std::uint64_t> received = b.blocking_recv();
  const bool same = received == sent;
  CHECK(same);
}

TEST_CASE("the memory of long messages is used again, and never while it may be read") {
  auto [a, b] = ipc::pipe<std::string>();
  for (int round = 0; round < 20; ++round) {
    // Two wait, and a third follows when one of them is read.
    const std::string first(400000, static_cast<char>('a' + round)), second(500000, static_cast<char>('A' + round));
    a.blocking_send(first);
    a.blocking_send(second);
    CHECK(b.blocking_recv() == first);
    a.blocking_send(first + second);
    CHECK(b.blocking_recv() == second);
    CHECK(b.blocking_recv() == first + second);
  }
  // Both ways, and after a fork.
  Child child([b] { echo(b); });
  for (int round = 0; round < 5; ++round) {
    const std::string sent(600000, static_cast<char>('0' + round));
    a.blocking_send(sent);
    CHECK(a.blocking_recv() == sent);
  }
  a.close();
  CHECK(child.wait() == 0);
}

TEST_CASE("messages never merge or split, and stay in order") {
  auto [reader, writer] = ipc::pipe<std::string>({.duplex = false});
  Child child([writer] {
    for (int i = 0; i < 5000; ++i) writer.blocking_send(std::string(static_cast<std::size_t>(i % 100), 'm'));
  });
  writer.close();
  bool right = true;
  for (int i = 0; i < 5000; ++i) right &= reader.blocking_recv().size() == static_cast<std::size_t>(i % 100);
  CHECK(right);
  CHECK_THROWS_AS(reader.blocking_recv(), EndOfFile);
  CHECK(child.wait() == 0);
}

TEST_CASE("polling takes nothing, and sees empty messages") {
  auto [a, b] = ipc::pipe<std::string>();
  CHECK_FALSE(a.blocking_poll());
  CHECK_FALSE(a.blocking_poll(-1s));
  const auto start = Clock::now();
  CHECK_FALSE(a.blocking_poll(60ms));
  CHECK(Clock::now() - start >= 60ms);
  b.blocking_send("");
  CHECK(a.blocking_poll());
  CHECK(a.blocking_poll());
  CHECK(a.blocking_poll(30s));
  CHECK(a.blocking_recv().empty());
  CHECK_FALSE(a.blocking_poll());
  b.blocking_send("first");
  b.blocking_send("second");
  CHECK(a.blocking_recv() == "first");
  CHECK(a.blocking_poll());
  CHECK(a.blocking_recv() == "second");
  CHECK_FALSE(a.blocking_poll());
  b.close();
  CHECK(a.blocking_poll());
}

TEST_CASE("a connection that is not duplex knows its direction") {
  auto [reader, writer] = ipc::pipe<int>({.duplex = false});
  writer.blocking_send(1);
  CHECK(reader.blocking_recv() == 1);
  CHECK_THROWS_WITH(reader.blocking_send(2), "this connection is read-only");
  CHECK_THROWS_WITH(writer.blocking_recv(), "this connection is write-only");
  CHECK_THROWS_AS(writer.blocking_poll(), std::logic_error);
  const auto in_loop = [&, reader_ = &reader, writer_ = &writer]() -> Task<int> {
    int refused = 0;
    try {
      co_await reader_->send(2);
    } catch (const std::logic_error&) {
      ++refused;
    }
    try {
      co_await writer_->recv();
    } catch (const std::logic_error&) {
      ++refused;
    }
    co_return refused;
  };
  CHECK(run(in_loop) == 2);
}

TEST_CASE("a closed or moved-from connection says so") {
  auto [a, b] = ipc::pipe<int>();
  CHECK_FALSE(a.closed());
  CHECK(a.native_handle() >= 0);
  auto copy = a;
  a.close();
  a.close();
  CHECK(a.closed());
  CHECK_THROWS_WITH(a.blocking_send(1), "this connection is closed");
  CHECK_THROWS_AS(a.blocking_recv(), std::logic_error);
  CHECK_THROWS_AS(a.blocking_poll(), std::logic_error);
  CHECK_THROWS_AS(a.native_handle(), std::logic_error);
  // The copy is open, and so is the end.
  b.blocking_send(7);
  CHECK(copy.blocking_recv() == 7);
  auto moved = std::move(copy);
  CHECK(copy.closed());
  CHECK_THROWS_AS(copy.blocking_recv(), std::logic_error);
  moved.close();
  CHECK_THROWS_AS(b.blocking_recv(), EndOfFile);
}

TEST_CASE("blocking on a loop's thread is an error that names the function") {
  auto [a, b] = ipc::pipe<int>();
  const auto main = [a_ = &a]() -> Task<std::string> {
    std::string said;
    try {
      a_->blocking_recv();
    } catch (const std::logic_error& error) {
      said = error.what();
    }
    try {
      a_->blocking_send(1);
    } catch (const std::logic_error& error) {
      said += error.what();
    }
    try {
      a_->blocking_poll();
    } catch (const std::logic_error& error) {
      said += error.what();
    }
    co_return said;
  };
  const std::string said = run(main);
  CHECK(said.find("blocking_recv") != std::string::npos);
  CHECK(said.find("blocking_send") != std::string::npos);
  CHECK(said.find("blocking_poll") != std::string::npos);
}

TEST_CASE("sending to nobody is EPIPE, and no signal") {
  auto [a, b] = ipc::pipe<int>();
  b.close();
  CHECK(error_of([&, a_ = &a] { a_->blocking_send(1); }) == EPIPE);
  auto [c, d] = ipc::pipe<int>();
  {
    Child child([d] { d.blocking_recv(); });
    d.close();
    child.kill();
  }
  CHECK(error_of([c_ = &c] { c_->blocking_send(1); }) == EPIPE);
}

TEST_CASE("what was sent before the end is received first") {
  auto [reader, writer] = ipc::pipe<int>({.duplex = false});
  for (int i = 0; i < 10; ++i) writer.blocking_send(i);
  writer.close();
  const auto main = [reader_ = &reader]() -> Task<int> {
    int sum = 0;
    while (const auto value = co_await reader_->next()) sum += *value;
    const auto again = co_await reader_->next();
    co_return again ? -1 : sum;
  };
  CHECK(run(main) == 45);
  CHECK_THROWS_AS(reader.blocking_recv(), EndOfFile);
}

TEST_CASE("two coroutines of one process talk over a pipe") {
  auto [a, b] = ipc::pipe<int>();
  auto main = [mine = std::move(a), theirs = std::move(b)]() mutable -> Task<int> {
    const auto answer = [](ipc::Connection<int> end) -> Task<> {
      while (const auto value = co_await end.next()) co_await end.send(*value * 2);
    };
    Future<void> answering = spawn(answer(std::move(theirs)));
    int sum = 0;
    for (int i = 0; i < 1000; ++i) {
      co_await mine.send(i);
      const int doubled = co_await mine.recv();
      sum += doubled;
    }
    mine.close();
    co_await answering;
    co_return sum;
  };
  CHECK(run(std::move(main)) == 999000);
}

TEST_CASE("a full pipe holds up its sender until there is room") {
  auto [reader, writer] = ipc::pipe<std::string>({.duplex = false});
  const auto main = [reader_ = &reader, writer_ = &writer]() -> Task<std::pair<int, int>> {
    int sent = 0;
    const auto send_all = [](ipc::Connection<std::string>* to, int* count) -> Task<> {
      const std::string text(1000, 't');
      for (; *count < 5000; ++*count) co_await to->send(text);
    };
    Future<void> sending = spawn(send_all(writer_, &sent));
    for (int i = 0; i < 10; ++i) co_await yield_now();
    const int before = sent;
    int received = 0;
    for (; received < 5000; ++received) static_cast<void>(co_await reader_->recv());
    co_await sending;
    co_return std::pair(before, received);
  };
  const auto [before, received] = run(main);
  CHECK(before > 10);
  CHECK(before < 5000);
  CHECK(received == 5000);
}

TEST_CASE("long messages that nobody receives hold up their sender, too") {
  auto [reader, writer] = ipc::pipe<std::string>({.duplex = false});
  const auto main = [writer_ = &writer]() -> Task<int> {
    const std::string text(std::size_t{8} << 20, 't');
    for (int sent = 0; sent < 20; ++sent) {
      auto sending = writer_->send(text);
      try {
        co_await wait_for(std::move(sending), 200ms * support::slowdown);
      } catch (const TimeoutError&) {
        co_return sent;
      }
    }
    co_return 20;
  };
  const int sent = run(main);
  CHECK(sent >= 1);
  CHECK(sent <= 8);
  for (int i = 0; i < sent; ++i) CHECK(reader.blocking_recv().size() == std::size_t{8} << 20);
  CHECK_FALSE(reader.blocking_poll());
}

TEST_CASE("cancelling a recv loses nothing") {
  auto [reader, writer] = ipc::pipe<int>({.duplex = false});
  Child child([writer] {
    for (int i = 0; i < 2000; ++i) writer.blocking_send(i);
  });
  writer.close();
  const auto main = [reader_ = &reader]() -> Task<int> {
    int expected = 0;
    while (true) {
      auto receiving = reader_->next();
      std::optional<int> value;
      try {
        // Not even time to wait, every now and then.
        value = co_await wait_for(std::move(receiving), expected % 3 == 0 ? 0ns : 1ms);
      } catch (const TimeoutError&) {
        continue;
      }
      if (!value) break;
      if (*value != expected++) co_return -1;
    }
    co_return expected;
  };
  CHECK(run(main) == 2000);
  CHECK(child.wait() == 0);
}

TEST_CASE("cancelling a send that waits sends nothing") {
  auto [reader, writer] = ipc::pipe<int>({.duplex = false});
  const auto main = [writer_ = &writer]() -> Task<int> {
    int sent = 0;
    while (true) {
      auto sending = writer_->send(sent);
      try {
        co_await wait_for(std::move(sending), 20ms);
      } catch (const TimeoutError&) {
        co_return sent;
      }
      ++sent;
    }
  };
  const int sent = run(main);
  CHECK(sent > 100);
  writer.close();
  int received = 0;
  const auto drain = [reader_ = &reader, count = &received]() -> Task<bool> {
    bool right = true;
    while (const auto value = co_await reader_->next()) right &= *value == (*count)++;
    co_return right;
  };
  CHECK(run(drain));
  CHECK(received == sent);
}

TEST_CASE("a poll that waits sees a message, the end, its deadline and its cancellation") {
  auto [a, b] = ipc::pipe<int>();
  const auto main = [a_ = &a, b_ = &b]() -> Task<std::string> {
    std::string said;
    const bool now = co_await a_->poll();
    said += now ? "message " : "nothing ";
    const bool in_time = co_await a_->poll(10ms);
    said += in_time ? "message " : "late ";
    const auto send_later = [](ipc::Connection<int>* to) -> Task<> {
      co_await sleep(5ms);
      co_await to->send(1);
    };
    Future<void> sending = spawn(send_later(b_));
    const bool arrived = co_await a_->poll(30s);
    said += arrived ? "message " : "late ";
    co_await sending;
    static_cast<void>(co_await a_->recv());
    auto polling = a_->poll(30s);
    try {
      co_await wait_for(std::move(polling), 5ms);
    } catch (const TimeoutError&) {
      said += "cancelled ";
    }
    b_->close();
    const bool ended = co_await a_->poll(30s);
    said += ended ? "end" : "late";
    co_return said;
  };
  CHECK(run(main) == "nothing late message cancelled end");
}

TEST_CASE("several coroutines receive from one connection, each message once") {
  auto [reader, writer] = ipc::pipe<int>({.duplex = false});
  const auto main = [reader_ = &reader, writer_ = &writer]() -> Task<std::pair<int, bool>> {
    std::vector<Future<int>> takers;
    const auto take = [](ipc::Connection<int>* from) -> Task<int> {
      int count = 0;
      while (co_await from->next()) {
        ++count;
        co_await yield_now();
      }
      co_return count;
    };
    for (int i = 0; i < 5; ++i) takers.push_back(spawn(take(reader_)));
    for (int i = 0; i < 1000; ++i) {
      co_await writer_->send(i);
      if (i % 10 == 0) co_await sleep(0ns);
    }
    writer_->close();
    const std::vector<int> counts = co_await gather(std::move(takers));
    bool all = true;
    int sum = 0;
    for (const int count : counts) {
      sum += count;
      all &= count > 0;
    }
    co_return std::pair(sum, all);
  };
  const auto [sum, all] = run(main);
  CHECK(sum == 1000);
  CHECK(all);
}

TEST_CASE("an interrupting signal is of no concern") {
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGALRM, &action, &before) == 0);
  itimerval often = {{0, 1000}, {0, 1000}};
  REQUIRE(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
  auto [a, b] = ipc::pipe<std::string>();
  Child child([b] {
    static_cast<void>(b.blocking_recv());
    std::this_thread::sleep_for(50ms);
    b.blocking_send("late");
    std::this_thread::sleep_for(50ms);
    for (int i = 0; i < 20; ++i) static_cast<void>(b.blocking_recv());
  });
  b.close();
  CHECK_FALSE(a.blocking_poll(20ms));
  a.blocking_send("go on");
  CHECK(a.blocking_recv() == "late");
  for (int i = 0; i < 20; ++i) a.blocking_send(std::string(200000, 'x'));
  CHECK(child.wait() == 0);
  often = {};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
}

TEST_CASE("connections travel over connections") {
  auto [a, b] = ipc::pipe<ipc::Connection<std::string>>();
  Child child([b] {
    const Text received = b.blocking_recv();
    received.blocking_send("hello");
    echo(received);
  });
  b.close();
  auto [mine, theirs] = ipc::pipe<std::string>();
  a.blocking_send(theirs);
  CHECK(mine.blocking_recv() == "hello");
  mine.blocking_send("echo");
  CHECK(mine.blocking_recv() == "echo");
  theirs.close();
  mine.close();
  CHECK(child.wait() == 0);
}

TEST_CASE("an end in a message that nobody received still counts as open, until it is lost") {
  auto [mine, theirs] = ipc::pipe<std::string>();
  auto [a, b] = ipc::pipe<Text>();
  a.blocking_send(theirs);
  theirs.close();
  CHECK_FALSE(mine.blocking_poll());
  b.close();
  CHECK(mine.blocking_poll(30s));
  CHECK_THROWS_AS(mine.blocking_recv(), EndOfFile);
}

TEST_CASE("descriptors travel in messages, and too many are refused") {
  auto [a, b] = ipc::pipe<std::vector<ipc::Descriptor>>();
  std::vector<ipc::Descriptor> sent;
  for (int i = 0; i < 253; ++i) sent.push_back(ipc::Descriptor::duplicate(0));
  a.blocking_send(sent);
  const std::vector<ipc::Descriptor> received = b.blocking_recv();
  CHECK(received.size() == 253);
  bool open = true;
  for (const ipc::Descriptor& descriptor : received) open &= (::fcntl(descriptor.get(), F_GETFD) & FD_CLOEXEC) != 0;
  CHECK(open);
  sent.push_back(ipc::Descriptor::duplicate(0));
  CHECK_THROWS_AS(a.blocking_send(sent), std::invalid_argument);
  CHECK_FALSE(b.blocking_poll());
}

TEST_CASE("a message for which there are no descriptors left is an error, and the next one arrives") {
  const auto child = support::in_child([] {
    auto [a, b] = ipc::pipe<std::vector<ipc::Descriptor>>();
    std::vector<ipc::Descriptor> sent;
    for (int i = 0; i < 20; ++i) sent.push_back(ipc::Descriptor::duplicate(0));
    a.blocking_send(sent);
    a.blocking_send({});
    // UBSan needs a free descriptor for its first look at a class.
    support::require(error_of([] { throw std::system_error(EMFILE, std::generic_category()); }) == EMFILE, "any error");
    const rlimit few = {30, 30};
    std::vector<ipc::Descriptor> fill;
    ::setrlimit(RLIMIT_NOFILE, &few);
    support::require(error_of([a_ = &a, sent_ = &sent] { a_->blocking_send(*sent_); }) == EMFILE, "send");
    support::require(error_of([b_ = &b] { b_->blocking_recv(); }) == EMFILE, "recv");
    support::require(b.blocking_recv().empty(), "next");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("threads use one connection at once", "[threads]") {
  auto [reader, writer] = ipc::pipe<int>({.duplex = false});
  std::atomic<int> sum = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 3; ++thread)
      threads.emplace_back([from = reader, &sum] {
        while (true) {
          const int value = from.blocking_recv();
          if (value < 0) break;
          sum += value;
        }
      });
    std::vector<std::jthread> writers;
    for (int thread = 0; thread < 3; ++thread)
      writers.emplace_back([to = writer] {
        for (int i = 0; i < 500; ++i) to.blocking_send(i);
      });
    writers.clear();
    for (int thread = 0; thread < 3; ++thread) writer.blocking_send(-1);
  }
  CHECK(sum == 3 * 499 * 500 / 2);
}

TEST_CASE("another thread destroys the last handle that a loop has waited for", "[threads]") {
  auto [a, b] = ipc::pipe<int>();
  auto held = std::make_unique<ipc::Connection<int>>(std::move(a));
  const auto main = [held_ = &held, b_ = &b]() -> Task<bool> {
    const bool arrived = co_await (*held_)->poll(1ms);
    std::jthread([&] { held_->reset(); }).join();
    // The other end sees it once the loop has let go.
    const auto value = co_await b_->next();
    co_return !arrived && !value;
  };
  CHECK(run(main));
}
