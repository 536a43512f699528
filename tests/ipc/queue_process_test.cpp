// Queues between processes.
#include <algorithm>
#include <chrono>
#include <cofork/executors/process.hpp>
#include <cofork/ipc/joinable_queue.hpp>
#include <cofork/ipc/queue.hpp>
#include <cofork/ipc/simple_queue.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "executors/process_harness.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"
#include "support/sanitizers.hpp"

using namespace process_test;
using namespace std::chrono_literals;
using cofork::Process;
using cofork::Task;
using cofork::ipc::JoinableQueue;
using cofork::ipc::Queue;
using cofork::ipc::SimpleQueue;

namespace {

struct Numbered {
  int producer;
  int number;
};

void start_all(std::vector<Process>& processes) {
  for (Process& process : processes) process.start();
}
void join_all(std::vector<Process>& processes) {
  for (Process& process : processes) {
    process.blocking_join();
    CHECK(process.exitcode() == 0);
  }
}

}  // namespace

TEST_CASE("a child puts what its parent gets, and the other way round") {
  Queue<std::string> to_child, to_parent;
  Process child([=] {
    for (;;) {
      const std::string text = to_child.blocking_get();
      if (text.empty()) return;
      to_parent.blocking_put(text + "!");
    }
  });
  child.start();
  for (int i = 0; i < 500; ++i) {
    to_child.blocking_put(std::to_string(i));
    const std::string answer = to_parent.blocking_get();
    if (answer != std::to_string(i) + "!") FAIL_CHECK(answer);
  }
  to_child.blocking_put("");
  child.blocking_join();
  CHECK(child.exitcode() == 0);
}

TEST_CASE("coroutines of two processes talk through queues") {
  cofork::run([]() -> Task<> {
    Queue<int> to_child(4), to_parent(4);
    Process child(
        [](Queue<int> from, Queue<int> to) -> Task<> {
          while (auto number = co_await from.next()) co_await to.put(*number * 2);
        },
        to_child, to_parent);
    child.start();
    for (int i = 0; i < 500; ++i) {
      co_await to_child.put(i);
      const int answer = co_await to_parent.get();
      if (answer != 2 * i) FAIL_CHECK(answer);
    }
    to_child.close();
    const auto end = co_await to_parent.next();
    CHECK_FALSE(end.has_value());
    co_await child.join();
    CHECK(child.exitcode() == 0);
  }());
}

TEST_CASE("what a child has put outlives it, however much it is") {
  const int messages = 100'000;
  Queue<int> queue;
  Process child([=] {
    for (int i = 0; i < messages; ++i) queue.put_nowait(i);
  });
  child.start();
  child.blocking_join();
  CHECK(child.exitcode() == 0);
  CHECK(queue.qsize() == messages);
  bool right = true;
  for (int i = 0; i < messages; ++i) right = right && queue.get_nowait() == i;
  CHECK(right);
  CHECK(queue.empty());
}

TEST_CASE("each message of many processes goes to one of many processes") {
  constexpr int producers = 3, consumers = 3;
  const int each = 20'000 / support::slowdown;
  for (const std::size_t maxsize : {std::size_t{0}, std::size_t{10}}) {
    Queue<Numbered> queue(maxsize);
    Shared<std::array<std::array<std::atomic<std::uint8_t>, 20'000>, producers>> times;
    Shared<std::atomic<bool>> in_order;
    *in_order = true;
    std::vector<Process> processes, readers;
    for (int p = 0; p < producers; ++p)
      processes.emplace_back([=] {
        for (int i = 0; i < each; ++i) queue.blocking_put({p, i});
      });
    for (int c = 0; c < consumers; ++c)
      readers.emplace_back([&, queue]() -> Task<> {
        std::array<int, producers> last;
        last.fill(-1);
        while (auto message = co_await queue.next()) {
          const auto p = static_cast<std::size_t>(message->producer);
          if (message->number <= last[p]) *in_order = false;
          last[p] = message->number;
          ++(*times)[p][static_cast<std::size_t>(message->number)];
        }
      });
    start_all(processes);
    start_all(readers);
    join_all(processes);
    join_all(readers);
    CHECK(*in_order);
    bool once = true;
    for (auto& numbers : *times)
      once = once && std::all_of(numbers.begin(), numbers.begin() + each, [](auto& n) { return n == 1; });
    CHECK(once);
    CHECK(queue.empty());
  }
}

TEST_CASE("a bounded queue never holds more than it should") {
  Queue<int> queue(5);
  std::vector<Process> producers;
  for (int p = 0; p < 3; ++p)
    producers.emplace_back([=] {
      for (int i = 0; i < 2000; ++i) queue.blocking_put(i);
    });
  start_all(producers);
  CHECK(support::eventually([&] { return queue.full(); }));
  std::size_t most = 0;
  for (int i = 0; i < 6000; ++i) {
    most = std::max(most, queue.qsize());
    queue.blocking_get();
  }
  join_all(producers);
  CHECK(most == 5);
}

TEST_CASE("next ends when all producers have ended, without a spare handle closed by hand") {
  cofork::run([]() -> Task<> {
    Queue<int> queue;
    std::vector<Process> producers;
    for (int p = 0; p < 3; ++p)
      producers.emplace_back([=] {
        for (int i = 0; i < 10; ++i) queue.blocking_put(i);
      });
    start_all(producers);
    int got = 0;
    while (auto message = co_await queue.next()) ++got;
    CHECK(got == 30);
    for (Process& producer : producers) co_await producer.join();
    // It can be used again.
    co_await queue.put(1);
    const auto again = co_await queue.next();
    CHECK(again == 1);
  }());
}

TEST_CASE("what a child is given of a queue stays open until it is forked, whatever other threads wait for") {
  const Queue<int> queue;
  const cofork::detail::GivenHandles given(cofork::detail::handles_within(&queue, sizeof queue));
  const std::vector<int> descriptors = given.descriptors();
  std::thread([] { cofork::detail::waiting_for_others(); }).join();
  CHECK(given.descriptors() == descriptors);
}

TEST_CASE("next ends for children when the parent closes the queue") {
  Queue<int> queue;
  std::vector<Process> consumers;
  Shared<std::atomic<int>> sum;
  for (int c = 0; c < 3; ++c)
    consumers.emplace_back([&, queue]() -> Task<> {
      while (auto message = co_await queue.next()) *sum += *message;
    });
  start_all(consumers);
  for (int i = 1; i <= 1000; ++i) queue.blocking_put(i);
  queue.close();
  join_all(consumers);
  CHECK(*sum == 500'500);
}

TEST_CASE("next ends when a child that never put anything has died") {
  cofork::run([]() -> Task<> {
    Queue<int> queue;
    OpenPipe pipe;
    Process child([&, queue] { pipe.read(1); });
    child.start();
    auto reading = cofork::spawn(queue.next());
    co_await cofork::sleep(10ms);
    CHECK_FALSE(reading.done());
    child.kill();
    const auto end = co_await std::move(reading);
    CHECK_FALSE(end.has_value());
    co_await child.join();
  }());
}

TEST_CASE("a queue that was shut down ends everywhere") {
  Queue<int> queue(1);
  std::vector<Process> processes;
  for (int i = 0; i < 2; ++i) {
    processes.emplace_back([=] {
      try {
        for (;;) queue.blocking_put(1);
      } catch (const cofork::QueueShutDown&) {
      }
    });
    processes.emplace_back([=]() -> Task<> {
      while (const auto message = co_await queue.next()) static_cast<void>(*message);
    });
  }
  start_all(processes);
  CHECK(queue.blocking_get() == 1);
  queue.shutdown();
  join_all(processes);
}

TEST_CASE("a child that was not given a queue cannot use it") {
  Queue<int> queue;
  auto hidden = std::make_unique<Queue<int>>(queue);
  Queue<int>* const address = hidden.get();
  Shared<std::atomic<int>> errors;
  Process child([&errors, integer = reinterpret_cast<std::uintptr_t>(address) ^ 1] {
    auto* const secret = reinterpret_cast<Queue<int>*>(integer ^ 1);
    for (const auto& use : std::vector<std::function<void()>>{
             [&] { secret->put_nowait(1); }, [&] { secret->get_nowait(); }, [&] { secret->qsize(); }}) {
      try {
        use();
      } catch (const std::logic_error&) {
        ++*errors;
      }
    }
  });
  child.start();
  child.blocking_join();
  CHECK(child.exitcode() == 0);
  CHECK(*errors == 3);
  CHECK(queue.empty());
}

TEST_CASE("a message larger than what is free goes between processes") {
  Queue<std::vector<int>> queue;
  Process child([=] {
    for (int i = 0; i < 10; ++i) queue.blocking_put(std::vector<int>(static_cast<std::size_t>(i) << 18, i));
  });
  child.start();
  bool right = true;
  for (int i = 0; i < 10; ++i)
    right = right && queue.blocking_get() == std::vector<int>(static_cast<std::size_t>(i) << 18, i);
  CHECK(right);
  child.blocking_join();
}

TEST_CASE("a simple queue goes between processes") {
  SimpleQueue<int> queue, answers;
  Process child([=] {
    while (const int number = queue.blocking_get()) answers.blocking_put(-number);
  });
  child.start();
  for (int i = 1; i < 100; ++i) queue.blocking_put(i);
  for (int i = 1; i < 100; ++i) CHECK(answers.blocking_get() == -i);
  queue.blocking_put(0);
  child.blocking_join();
  CHECK(queue.empty());
}

TEST_CASE("join of a queue waits until all work is done") {
  JoinableQueue<int> queue;
  Shared<std::atomic<int>> worked;
  std::vector<Process> workers;
  for (int w = 0; w < 3; ++w)
    workers.emplace_back([&, queue] {
      for (;;) {
        const int task = queue.blocking_get();
        if (task == 0) {
          queue.task_done();
          return;
        }
        *worked += task;
        queue.task_done();
      }
    });
  start_all(workers);
  for (int i = 1; i <= 1000; ++i) queue.blocking_put(i);
  queue.blocking_join();
  CHECK(*worked == 500'500);
  cofork::run([&]() -> Task<> {
    for (int w = 0; w < 3; ++w) co_await queue.put(0);
    co_await queue.join();
  }());
  join_all(workers);
  CHECK_THROWS_AS(queue.task_done(), std::logic_error);
  queue.blocking_join();
}

TEST_CASE("task_done counts only up to what was put") {
  JoinableQueue<int> queue;
  CHECK_THROWS_AS(queue.task_done(), std::logic_error);
  queue.blocking_join();
  queue.put_nowait(1);
  CHECK(queue.get_nowait() == 1);
  cofork::run([&]() -> Task<> {
    auto joining = cofork::spawn(queue.join());
    co_await cofork::sleep(2ms);
    CHECK_FALSE(joining.done());
    queue.task_done();
    co_await std::move(joining);
  }());
  CHECK_THROWS_AS(queue.task_done(), std::logic_error);
}

TEST_CASE("a consumer that dies at its work holds up no join") {
  JoinableQueue<int> queue;
  OpenPipe taken;
  Process child([&, queue] {
    for (int i = 0; i < 3; ++i) queue.blocking_get();
    queue.task_done();
    taken.write("x");
    ::pause();
  });
  for (int i = 0; i < 4; ++i) queue.put_nowait(i);
  child.start();
  taken.read(1);
  child.kill();
  child.blocking_join();
  CHECK(queue.blocking_get() == 3);
  cofork::run([&]() -> Task<> {
    auto joining = cofork::spawn(queue.join());
    co_await cofork::sleep(5ms);
    CHECK_FALSE(joining.done());
    queue.task_done();
    co_await std::move(joining);
  }());
}
