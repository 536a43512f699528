// Messages that are one block of plain data, which go into the log and out of it without a buffer in between.
#include <atomic>
#include <cofork/ipc/queue.hpp>
#include <cstdint>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace cofork;

namespace {

template <class T>
std::vector<T> numbered(std::size_t size, std::size_t seed) {
  std::vector<T> values(size);
  std::iota(values.begin(), values.end(), static_cast<T>(seed));
  return values;
}

template <class T>
void goes_round(std::size_t most) {
  const ipc::Queue<std::vector<T>> queue;
  // Past the end of the log's first region, again and again.
  std::size_t bytes = 0;
  for (std::size_t size = 0; bytes < 400'000; size = (size * 7 + 1) % most) {
    INFO(size << " elements of " << sizeof(T) << " bytes");
    const std::vector<T> sent = numbered<T>(size, bytes);
    queue.put_nowait(sent);
    REQUIRE(queue.get_nowait() == sent);
    bytes += size * sizeof(T) + 16;
  }
}

struct alignas(64) Wide {
  std::uint64_t values[8];
  bool operator==(const Wide&) const = default;
};

}  // namespace

TEST_CASE("blocks of every element size and length come as they were put") {
  goes_round<char>(5003);
  goes_round<std::uint16_t>(2503);
  goes_round<std::uint32_t>(1009);
  goes_round<double>(997);
}

TEST_CASE("blocks whose elements are aligned to a cache line come as they were put") {
  const ipc::Queue<std::vector<Wide>> queue;
  for (std::uint64_t size = 0; size < 200; ++size) {
    std::vector<Wide> sent(size);
    for (Wide& wide : sent) wide.values[3] = size;
    queue.put_nowait(sent);
    REQUIRE(queue.get_nowait() == sent);
  }
}

TEST_CASE("strings of every kind of character come as they were put") {
  const ipc::Queue<std::u32string> queue;
  queue.put_nowait(U"");
  queue.put_nowait(U"ä€");
  queue.put_nowait(std::u32string(100'000, U'x'));
  CHECK(queue.get_nowait().empty());
  CHECK(queue.get_nowait() == U"ä€");
  CHECK(queue.get_nowait() == std::u32string(100'000, U'x'));
}

TEST_CASE("a message of another type is skipped with an error where a block is expected") {
  // Two handles to one queue that disagree about what is in it.
  const ipc::Queue<std::vector<std::uint64_t>> numbers;
  ipc::BufferWriter writer;
  ipc::encode(writer, numbers);
  ipc::Reader reader(writer.message(), writer.descriptors());
  const auto bytes = ipc::decode<ipc::Queue<std::string>>(reader);
  bytes.put_nowait(std::string(1001, '\x7f'));
  numbers.put_nowait({1, 2, 3});
  CHECK_THROWS_AS(numbers.get_nowait(), DecodeError);
  CHECK(numbers.get_nowait() == std::vector<std::uint64_t>{1, 2, 3});
  CHECK_THROWS_AS(numbers.get_nowait(), QueueEmpty);
}

TEST_CASE("consumers that race for blocks get each of them once and whole", "[threads]") {
  const ipc::Queue<std::vector<std::uint32_t>> queue(64);
  constexpr std::uint32_t messages = 20'000;
  constexpr int consumers = 3;
  std::atomic<std::uint64_t> sum{0}, count{0}, damaged{0};
  std::vector<std::thread> threads;
  for (int consumer = 0; consumer < consumers; ++consumer)
    threads.emplace_back([&] {
      for (;;) {
        const std::vector<std::uint32_t> got = queue.blocking_get();
        if (got.empty()) return;
        for (std::size_t i = 0; i < got.size(); ++i)
          if (got[i] != got[0] + i) ++damaged;
        sum += got[0];
        ++count;
      }
    });
  for (std::uint32_t number = 1; number <= messages; ++number)
    queue.blocking_put(numbered<std::uint32_t>(1 + number * 37 % 3000, number));
  for (int consumer = 0; consumer < consumers; ++consumer) queue.blocking_put({});
  for (std::thread& thread : threads) thread.join();
  CHECK(damaged == 0);
  CHECK(count == messages);
  CHECK(sum == std::uint64_t{messages} * (messages + 1) / 2);
}
