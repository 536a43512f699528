// What a queue's memory is when it was large and is empty again.
#include <sys/stat.h>

#include <cofork/ipc/joinable_queue.hpp>
#include <cofork/ipc/queue.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "support/catch.hpp"

using cofork::ipc::JoinableQueue;
using cofork::ipc::Queue;

namespace {

/// Of all queues of this process, in bytes.
std::uint64_t memory_of_queues() {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    struct stat status = {};
    if (target.find("cofork-queue") != std::string::npos && ::stat(entry.path().c_str(), &status) == 0)
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  return bytes;
}

constexpr std::uint64_t mib = 1 << 20;

template <class Q>
void grow_and_drain(const Q& queue) {
  for (int round = 0; round < 3; ++round) {
    queue.put_nowait(std::vector<char>(100 * mib, 'x'));
    CHECK(memory_of_queues() > 100 * mib);
    CHECK(queue.get_nowait().size() == 100 * mib);
    CHECK(memory_of_queues() < 64 * mib);
    for (int i = 0; i < 9000; ++i) queue.put_nowait(std::vector<char>(10'000, 'x'));
    CHECK(memory_of_queues() > 80 * mib);
    for (int i = 0; i < 9000; ++i)
      if (queue.get_nowait().size() != 10'000) FAIL_CHECK("another message");
    CHECK(queue.empty());
    CHECK(memory_of_queues() < 64 * mib);
  }
}

}  // namespace

TEST_CASE("the memory of a queue that was long is given back when it is empty") {
  grow_and_drain(Queue<std::vector<char>>());
  grow_and_drain(JoinableQueue<std::vector<char>>());
}

TEST_CASE("a queue with little in it uses little memory, whatever passed through it, and loses nothing on the way") {
  const Queue<std::vector<char>> queue;
  std::size_t put = 0, got = 0;
  const auto put_one = [&] { queue.put_nowait(std::vector<char>(50'000 + put % 1000, static_cast<char>(put))), ++put; };
  const auto get_one = [&] {
    if (queue.get_nowait() != std::vector<char>(50'000 + got % 1000, static_cast<char>(got))) FAIL_CHECK("another one");
    ++got;
  };
  for (int i = 0; i < 500; ++i) put_one();
  const std::uint64_t before = memory_of_queues();
  for (int i = 0; i < 497; ++i) get_one();
  for (int i = 0; i < 2000; ++i) put_one(), get_one();
  CHECK(memory_of_queues() < before + 2 * mib);
  CHECK(queue.qsize() == 3);
  for (int i = 0; i < 3; ++i) get_one();
  CHECK(queue.empty());
}
