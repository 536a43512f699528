// Users of a queue that are killed at any instant: what the others put and get is whole.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cofork/executors/process.hpp>
#include <cofork/ipc/joinable_queue.hpp>
#include <cofork/ipc/queue.hpp>
#include <cstdint>
#include <optional>
#include <random>
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
using cofork::ipc::JoinableQueue;
using cofork::ipc::Queue;

namespace {

constexpr int rounds = 60;
constexpr std::size_t most_numbers = 400'000;

/// Somewhere within the first milliseconds of a child's life.
void random_pause(std::mt19937& random) { std::this_thread::sleep_for(std::chrono::microseconds(random() % 4000)); }

std::string text_of(int number) {
  return std::string(static_cast<std::size_t>(number % 300), 'x') + std::to_string(number);
}

}  // namespace

TEST_CASE("producers that are killed leave what they had put, and nothing torn", "[limit:120]") {
  std::mt19937 random(1);
  for (const std::size_t maxsize : {std::size_t{0}, std::size_t{8}}) {
    Queue<std::pair<int, std::string>> queue(maxsize);
    Shared<std::array<std::atomic<int>, rounds>> done;
    int from_survivor = 0;
    for (int round = 0; round < rounds; ++round) {
      Process victim([&, queue] {
        for (int i = 0;; ++i) {
          queue.blocking_put({round, text_of(i)});
          (*done)[static_cast<std::size_t>(round)] = i + 1;
        }
      });
      victim.start();
      std::atomic<bool> stop{false};
      int next = 0;
      const auto take = [&](const std::pair<int, std::string>& message) {
        if (message.first == -1) {
          if (message.second != text_of(from_survivor++)) FAIL_CHECK("a survivor's message is wrong");
        } else if (message.first != round || message.second != text_of(next++)) {
          FAIL_CHECK("a victim's message is wrong");
        }
      };
      std::thread consumer([&] {
        while (!stop) {
          try {
            take(queue.blocking_get(1ms));
          } catch (const cofork::QueueEmpty&) {
          }
        }
      });
      random_pause(random);
      victim.kill();
      stop = true;
      consumer.join();
      victim.blocking_join();
      // It is whole: a survivor goes on.
      while (!queue.empty()) take(queue.get_nowait());
      const int survivors = from_survivor;
      queue.blocking_put({-1, text_of(survivors)}, 30s);
      take(queue.blocking_get(30s));
      CHECK(from_survivor == survivors + 1);
      const int put = (*done)[static_cast<std::size_t>(round)];
      CHECK(next >= put);
      CHECK(next <= put + 1);
    }
  }
}

TEST_CASE("consumers that are killed take no more with them than what they had", "[limit:120]") {
  std::mt19937 random(2);
  for (const std::size_t maxsize : {std::size_t{0}, std::size_t{8}}) {
    Queue<int> queue(maxsize);
    Shared<std::array<std::atomic<std::uint8_t>, most_numbers>> got;
    Shared<std::atomic<bool>> stop;
    Shared<std::atomic<int>> put;
    Process producer([&, queue] {
      int i = 0;
      for (; !*stop && i < static_cast<int>(most_numbers) - 1; ++i) queue.blocking_put(i);
      *put = i;
    });
    producer.start();
    const auto consume = [&, queue] {
      for (;;) {
        const int number = queue.blocking_get();
        if (number < 0) return;
        ++(*got)[static_cast<std::size_t>(number)];
      }
    };
    std::vector<Process> survivors;
    survivors.emplace_back(consume);
    survivors.back().start();
    for (int round = 0; round < rounds; ++round) {
      Process victim(consume);
      victim.start();
      random_pause(random);
      victim.kill();
      victim.blocking_join();
    }
    *stop = true;
    REQUIRE(producer.blocking_join(60s * support::slowdown));
    CHECK(producer.exitcode() == 0);
    queue.blocking_put(-1, 30s);
    REQUIRE(survivors.back().blocking_join(60s * support::slowdown));
    CHECK(survivors.back().exitcode() == 0);
    CHECK(queue.empty());
    const auto end = got->begin() + *put;
    CHECK(std::none_of(got->begin(), end, [](auto& n) { return n > 1; }));
    CHECK(std::count_if(got->begin(), end, [](auto& n) { return n == 0; }) <= rounds);
  }
}

TEST_CASE("workers that are killed hold up nobody who joins the queue", "[limit:120]") {
  std::mt19937 random(3);
  JoinableQueue<int> queue;
  const auto work = [queue] {
    for (;;) {
      queue.blocking_get();
      queue.task_done();
    }
  };
  for (int round = 0; round < rounds; ++round) {
    Process victim(work), survivor(work);
    victim.start();
    survivor.start();
    for (int i = 0; i < 2000; ++i) queue.put_nowait(i);
    random_pause(random);
    victim.kill();
    queue.blocking_join();
    CHECK(queue.empty());
    survivor.kill();
    survivor.blocking_join();
    victim.blocking_join();
    CHECK_THROWS_AS(queue.task_done(), std::logic_error);
  }
}

TEST_CASE("killed users of a queue of large messages leave it whole", "[limit:120]") {
  std::mt19937 random(4);
  Queue<std::vector<int>> queue(4);
  const auto putting = [queue] {
    for (int i = 0;; ++i) queue.blocking_put(std::vector<int>(static_cast<std::size_t>(i * 37 % 17) << 14, i));
  };
  const auto getting = [queue] {
    for (;;) {
      const std::vector<int> message = queue.blocking_get();
      if (std::adjacent_find(message.begin(), message.end(), std::not_equal_to()) != message.end()) ::_exit(9);
    }
  };
  for (int round = 0; round < rounds / 2; ++round) {
    Process producer(putting), consumer(getting);
    producer.start();
    consumer.start();
    random_pause(random);
    random_pause(random);
    (round % 2 ? producer : consumer).kill();
    random_pause(random);
    producer.kill();
    consumer.kill();
    producer.blocking_join();
    consumer.blocking_join();
    CHECK(producer.exitcode() == -SIGKILL);
    CHECK(consumer.exitcode() == -SIGKILL);
    while (!queue.empty()) {
      const std::vector<int> message = queue.get_nowait();
      CHECK(std::adjacent_find(message.begin(), message.end(), std::not_equal_to()) == message.end());
    }
    queue.blocking_put({1, 2}, 30s);
    CHECK(queue.blocking_get(30s) == std::vector<int>{1, 2});
  }
}

TEST_CASE(
    "a queue ends also where its lock is held by another and no descriptor is left to look whether that is dead") {
  if (support::needs_free_descriptors()) return;
  const auto child = support::in_child([] {
    using cofork::detail::QueueState;
    auto queue = cofork::detail::make_intrusive<QueueState>(std::size_t{0}, true, false);
    queue->join();
    std::array<int, 2> locked;
    support::require(::pipe(locked.data()) == 0, "pipe");
    const pid_t holder = ::fork();
    if (holder == 0) {
      queue->lock();
      if (::write(locked[1], "", 1) == 1) ::pause();
      ::_exit(1);
    }
    char byte;
    support::require(::read(locked[0], &byte, 1) == 1, "it is locked");
    const rlimit none = {0, 0};
    support::require(::setrlimit(RLIMIT_NOFILE, &none) == 0, "setrlimit");
    queue = {};
    ::kill(holder, SIGKILL);
  });
  INFO(child.output);
  CHECK(child.succeeded());
}
