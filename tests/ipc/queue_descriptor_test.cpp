// Handles in the messages of a queue, and queues in messages.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cofork/executors/process.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/ipc/joinable_queue.hpp>
#include <cofork/ipc/pipe.hpp>
#include <cofork/ipc/queue.hpp>
#include <cofork/ipc/simple_queue.hpp>
#include <cofork/runtime/run.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "executors/process_harness.hpp"
#include "support/catch.hpp"

using namespace process_test;
using namespace std::chrono_literals;
using cofork::Process;
using cofork::Task;
using cofork::ipc::Descriptor;
using cofork::ipc::Queue;

namespace {

struct Request {
  int number;
  std::optional<Queue<int>> answer;
};

Descriptor open_null() { return Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

int double_all(Queue<int> from, Queue<int> to) {
  int count = 0;
  for (; count < 100; ++count) to.blocking_put(2 * from.blocking_get());
  return count;
}

}  // namespace

TEST_CASE("a handle that is moved into a queue is closed here, and a copy stays open") {
  const auto number_of_open = [] {
    const Descriptor next = open_null();
    return next.get();  // the lowest that is free
  };
  Queue<Descriptor> queue;
  cofork::ipc::SimpleQueue<Descriptor> simple;
  Descriptor first = open_null();
  const int free = number_of_open();
  for (int i = 0; i < 2; ++i) {
    queue.put_nowait(open_null());
    queue.blocking_put(open_null());
    simple.blocking_put(open_null());
  }
  CHECK(number_of_open() == free);
  queue.blocking_put(std::move(first));
  CHECK(number_of_open() < free);
}

TEST_CASE("a queue goes through a queue") {
  Queue<Request> requests;
  Process server([=] {
    for (;;) {
      const Request request = requests.blocking_get();
      if (!request.answer) return;
      request.answer->blocking_put(request.number * 2);
    }
  });
  server.start();
  for (int i = 0; i < 50; ++i) {
    const Queue<int> answer;
    requests.blocking_put({i, answer});
    CHECK(answer.blocking_get(30s) == 2 * i);
  }
  requests.blocking_put({0, std::nullopt});
  server.blocking_join();
  CHECK(server.exitcode() == 0);
}

TEST_CASE("messages with descriptors and without keep their order") {
  Queue<std::vector<Descriptor>> queue;
  for (std::size_t i = 0; i < 60; ++i) {
    std::vector<Descriptor> descriptors;
    for (std::size_t d = 0; d < i % 3; ++d) descriptors.push_back(open_null());
    queue.put_nowait(std::move(descriptors));
  }
  CHECK(queue.qsize() == 60);
  for (std::size_t i = 0; i < 60; ++i) {
    const std::vector<Descriptor> descriptors = queue.get_nowait();
    CHECK(descriptors.size() == i % 3);
    for (const Descriptor& descriptor : descriptors) CHECK(::fcntl(descriptor.get(), F_GETFD) == FD_CLOEXEC);
  }
  CHECK(queue.empty());
}

TEST_CASE("a long message with a descriptor goes through a queue") {
  struct Long {
    std::string text;
    Descriptor descriptor;
  };
  Queue<Long> queue;
  queue.put_nowait({std::string(5 << 20, 'x'), open_null()});
  const Long got = queue.get_nowait();
  CHECK(got.text == std::string(5 << 20, 'x'));
  CHECK(got.descriptor.valid());
}

TEST_CASE("producers of descriptors wait while their socket is full") {
  cofork::run([]() -> Task<> {
    Queue<std::pair<int, Descriptor>> queue;
    Process producer([=] {
      for (int i = 0; i < 3000; ++i) queue.blocking_put({i, open_null()});
    });
    producer.start();
    int got = 0;
    while (auto message = co_await queue.next()) {
      if (message->first != got) FAIL_CHECK(message->first);
      ++got;
    }
    CHECK(got == 3000);
    co_await producer.join();
    CHECK(producer.exitcode() == 0);
  }());
}

TEST_CASE("killed users of a queue with descriptors leave it whole", "[limit:120]") {
  std::mt19937 random(5);
  Queue<std::pair<int, std::optional<Descriptor>>> queue(10);
  const auto use = [queue] {
    for (int i = 0;; ++i) {
      std::optional<Descriptor> descriptor;
      if (i % 3) descriptor = open_null();
      try {
        queue.blocking_put({i, std::move(descriptor)}, 0s);
      } catch (const cofork::QueueFull&) {
      }
      try {
        const auto message = queue.blocking_get(0s);
        if (message.second.has_value() != (message.first % 3 != 0)) ::_exit(9);
      } catch (const cofork::QueueEmpty&) {
      }
    }
  };
  Process survivor(use);
  survivor.start();
  for (int round = 0; round < 60; ++round) {
    Process victim(use);
    victim.start();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 4000));
    victim.kill();
    victim.blocking_join();
    CHECK(victim.exitcode() == -SIGKILL);
  }
  CHECK(survivor.is_alive());
  survivor.kill();
  survivor.blocking_join();
  CHECK(survivor.exitcode() == -SIGKILL);
  while (true) {
    try {
      const auto message = queue.get_nowait();
      CHECK(message.second.has_value() == (message.first % 3 != 0));
    } catch (const cofork::QueueEmpty&) {
      break;
    }
  }
  CHECK(queue.empty());
  for (int i = 0; i < 10; ++i) queue.blocking_put({i + 1, open_null()}, 30s);
  for (int i = 0; i < 10; ++i) CHECK(queue.blocking_get(30s).first == i + 1);
}

TEST_CASE("queues are arguments of pool tasks") {
  cofork::run([]() -> Task<> {
    cofork::ProcessPoolExecutor pool(1);
    Queue<int> to, from;
    auto doubled = pool.submit(double_all, to, from);
    for (int i = 0; i < 100; ++i) {
      co_await to.put(i);
      const int answer = co_await from.get();
      if (answer != 2 * i) FAIL_CHECK(answer);
    }
    const int count = co_await std::move(doubled);
    CHECK(count == 100);
  }());
}

TEST_CASE("queues of all kinds go through a connection") {
  auto [first, second] = cofork::ipc::pipe<cofork::ipc::JoinableQueue<int>>();
  cofork::ipc::JoinableQueue<int> queue(1);
  first.blocking_send(queue);
  const auto other = second.blocking_recv();
  other.put_nowait(3);
  CHECK(queue.full());
  CHECK(queue.get_nowait() == 3);
  queue.task_done();
  other.blocking_join();
  auto [left, right] = cofork::ipc::pipe<cofork::ipc::SimpleQueue<int>>();
  const cofork::ipc::SimpleQueue<int> simple;
  left.blocking_send(simple);
  right.blocking_recv().blocking_put(4);
  CHECK(simple.blocking_get() == 4);
}
