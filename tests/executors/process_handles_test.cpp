#include <poll.h>
#include <pthread.h>

#include <chrono>
#include <cofork/executors/process.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/ipc/event.hpp>
#include <cofork/ipc/joinable_queue.hpp>
#include <cofork/ipc/lock.hpp>
#include <cofork/ipc/pipe.hpp>
#include <cofork/ipc/queue.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <map>
#include <string>
#include <vector>

#include "executors/process_harness.hpp"

using namespace process_test;
using namespace std::chrono_literals;
using namespace cofork;

namespace {
// What the next fork finds in the place of an open file.
int file_to_replace = -1, replacement = -1;
}  // namespace

TEST_CASE("a child does not have what came to the place of an open file just before the fork") {
  static const bool prepared = ::pthread_atfork(
                                   [] {
                                     if (file_to_replace < 0) return;
                                     ::dup3(replacement, std::exchange(file_to_replace, -1), O_CLOEXEC);
                                   },
                                   nullptr, nullptr) == 0;
  REQUIRE(prepared);
  OpenPipe pipe;
  ipc::Descriptor writer(::fcntl(pipe.writer.get(), F_DUPFD_CLOEXEC, 0));
  replacement = writer.get();
  file_to_replace = pipe.writer.get();
  Process child([] {
    for (;;) ::pause();
  });
  child.start();
  writer.reset();
  pipe.writer.reset();
  pollfd end = {pipe.reader.get(), 0, 0};
  CHECK(::poll(&end, 1, 30'000) == 1);
  child.kill();
  CHECK(child.blocking_join());
}

TEST_CASE("a child that closes its copy of an end does not hold that end any more") {
  auto [receiver, sender] = ipc::pipe<int>({.duplex = false});
  Process adder(
      [](ipc::Connection<int> numbers, ipc::Connection<int> unused) {
        unused.close();
        int sum = 0;
        while (numbers.blocking_poll(1h)) {
          try {
            sum += numbers.blocking_recv();
          } catch (const EndOfFile&) {
            std::exit(sum);
          }
        }
      },
      receiver, sender);
  adder.start();
  receiver.close();
  sender.blocking_send(3);
  sender.blocking_send(4);
  sender.close();
  CHECK(adder.blocking_join());
  CHECK(adder.exitcode() == 7);
}

TEST_CASE("so it is with ends that were captured by reference") {
  auto ends = ipc::pipe<int>();
  ipc::Connection<int>& here = ends.first;
  ipc::Connection<int>& there = ends.second;
  Process echo([&here, &there] {
    here.close();
    try {
      while (true) there.blocking_send(there.blocking_recv() * 2);
    } catch (const EndOfFile&) {
      std::exit(3);
    }
  });
  echo.start();
  there.close();
  here.blocking_send(21);
  CHECK(here.blocking_recv() == 42);
  here.close();
  CHECK(echo.blocking_join());
  CHECK(echo.exitcode() == 3);
}

TEST_CASE("a child that closes its queue and lives on is no producer any more") {
  ipc::Queue<int> queue;
  ipc::Event end;
  Process producer(
      [](ipc::Queue<int> numbers, ipc::Event may_end) {
        numbers.blocking_put(1);
        numbers.close();
        may_end.blocking_wait();
      },
      queue, end);
  producer.start();
  const auto take_all = [&]() -> Task<int> {
    int taken = 0;
    while (auto number = co_await queue.next()) taken += *number;
    co_return taken;
  };
  CHECK(run(take_all) == 1);
  CHECK(producer.is_alive());
  end.set();
  CHECK(producer.blocking_join());
  CHECK(producer.exitcode() == 0);
}

TEST_CASE("what a child had taken from a joinable queue counts as done when it closes the queue and lives on") {
  ipc::JoinableQueue<int> queue;
  ipc::Event end;
  queue.blocking_put(1);
  Process consumer(
      [](ipc::JoinableQueue<int> numbers, ipc::Event may_end) {
        numbers.blocking_get();
        numbers.close();
        may_end.blocking_wait();
      },
      queue, end);
  consumer.start();
  queue.blocking_join();
  CHECK(consumer.is_alive());
  end.set();
  CHECK(consumer.blocking_join());
}

TEST_CASE("a handle stays open in a child until the last copy that it was given is closed") {
  ipc::Queue<std::string> queue;
  Process child(
      [copy = queue](ipc::Queue<std::string> argument, std::map<int, ipc::Queue<std::string>> deep) {
        ipc::Queue<std::string> another = copy;
        argument.close();
        deep.clear();
        another.blocking_put("captured");
        another.close();
        copy.blocking_put("also");
      },
      queue, std::map<int, ipc::Queue<std::string>>{{1, queue}});
  child.start();
  CHECK(child.blocking_join());
  REQUIRE(child.exitcode() == 0);
  CHECK(queue.get_nowait() == "captured");
  CHECK(queue.get_nowait() == "also");
}

TEST_CASE("what is deep in an argument can be closed, too") {
  auto [receiver, sender] = ipc::pipe<int>({.duplex = false});
  ipc::Event end;
  Process child(
      [](std::map<int, ipc::Connection<int>> ends, ipc::Event may_end) {
        ends.at(1).blocking_send(5);
        ends.clear();
        may_end.blocking_wait();
      },
      std::map<int, ipc::Connection<int>>{{1, sender}}, end);
  child.start();
  sender.close();
  CHECK(receiver.blocking_recv() == 5);
  CHECK_THROWS_AS(receiver.blocking_recv(), EndOfFile);
  CHECK(child.is_alive());
  end.set();
  CHECK(child.blocking_join());
}

TEST_CASE("a guard of the parent's that a child destroys leaves the child's handle open") {
  ipc::Lock lock;
  ipc::Event event;
  Process child(
      [](ipc::LockGuard guard, ipc::Lock same, ipc::Event is_locked) {
        { const ipc::LockGuard gone = std::move(guard); }
        if (same.locked()) is_locked.set();
      },
      lock.blocking_acquire(), lock, event);
  child.start();
  CHECK(child.blocking_join());
  CHECK(child.exitcode() == 0);
}

TEST_CASE("a vector of handles may be captured by reference, among others that are not") {
  std::vector<ipc::Queue<int>> questions(3);
  const std::vector<ipc::Queue<int>> answers(3);
  const std::vector<ipc::Queue<int>> others(1);
  static const ipc::Queue<int>* other = nullptr;
  other = others.data();
  const std::vector<int> numbers{1, 2, 3};
  Process child([&] {
    for (std::size_t i = 0; i < 3; ++i) answers[i].blocking_put(questions[i].blocking_get() * numbers[i]);
    try {
      static_cast<void>(other->qsize());
    } catch (const std::logic_error&) {
      std::exit(7);
    }
  });
  child.start();
  for (std::size_t i = 0; i < 3; ++i) {
    questions[i].blocking_put(10);
    CHECK(answers[i].blocking_get() == 10 * numbers[i]);
  }
  CHECK(child.blocking_join());
  CHECK(child.exitcode() == 7);
}

namespace {
ipc::Connection<int>* not_given = nullptr;
}

TEST_CASE("a pool's task is told of a handle in its worker's memory that it was not given") {
  auto [here, there] = ipc::pipe<int>();
  not_given = &there;
  const auto main = []() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto send = [] { not_given->blocking_send(1); };
    co_await pool.submit(send);
  };
  CHECK_THROWS_AS(run(main), std::logic_error);
}
