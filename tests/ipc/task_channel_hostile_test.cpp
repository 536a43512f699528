// The parent's reading of memory that a worker scribbles over.
#include <sys/mman.h>
#include <unistd.h>

#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <limits>
#include <random>

#include "support/catch.hpp"

using namespace cofork::ipc;
using cofork::DecodeError;

namespace {

/// A sender whose worker is this test: it can write everything that a worker can.
struct Hostile {
  Hostile()
      : file(Descriptor::duplicate(sender.worker_descriptors()[1])),
        socket(Descriptor::duplicate(sender.worker_descriptors()[3])),
        memory(file.descriptor(), ResultFileLayout::arena) {
    sender.worker_has_them();
    sender.begin_frame().value(7);
    sender.publish({1, 2}, 3, TaskFrame::chunk, 0);
  }
  WorkerWords& words() { return *reinterpret_cast<WorkerWords*>(memory.data()); }
  Claim& claim() { return *reinterpret_cast<Claim*>(memory.data() + ResultFileLayout::claims); }
  ResultFrame& frame_at(std::size_t position) {
    return *reinterpret_cast<ResultFrame*>(memory.data() + ResultFileLayout::ring + position);
  }
  /// A result that is in order, of `size` bytes in the ring.
  void publish_good(std::size_t size = 8) {
    frame_at(0) = {ResultFrame::value, 0, 0, 0, {}, size, 0, 0};
    words().result_bytes = sizeof(ResultFrame) + round_up(size, 8);
  }
  /// Reads until there is nothing left; false if that is `DecodeError`.
  bool reads() {
    try {
      TaskSender::Result result;
      for (int i = 0; i < 100'000 && sender.next_result(result); ++i) {
        for (const std::byte byte : result.message) sum += static_cast<unsigned>(byte);
      }
      sender.results_done();
      return true;
    } catch (const DecodeError&) {
      return false;
    }
  }

  TaskSender sender;
  MemoryFile file;
  Descriptor socket;
  Mapping memory;
  unsigned sum = 0;
};

}  // namespace

TEST_CASE("a good result is read") {
  Hostile worker;
  CHECK(worker.reads());
  worker.publish_good();
  CHECK(worker.reads());
  CHECK(worker.sender.results_read() == 1);
}

TEST_CASE("a false end of the result ring is a decode error") {
  for (const std::uint64_t end : {std::uint64_t{1}, std::uint64_t{8}, std::uint64_t{sizeof(ResultFrame) - 8},
                                  std::uint64_t{sizeof(ResultFrame) + 4}, std::uint64_t{result_ring_bytes + 8},
                                  ~std::uint64_t{0}, ~std::uint64_t{7}, std::uint64_t{1} << 63}) {
    Hostile worker;
    worker.publish_good();
    worker.words().result_bytes = end;
    CHECK_FALSE(worker.reads());
  }
  Hostile worker;
  worker.publish_good();
  CHECK(worker.reads());
  worker.words().result_bytes = 0;
  CHECK_FALSE(worker.reads());
}

TEST_CASE("a result of a false size or place is a decode error") {
  const std::uint64_t numbers[] = {inline_message_bytes + 1, result_ring_bytes,      std::uint64_t{1} << 32,
                                   ~std::uint64_t{0} >> 16,  std::uint64_t{1} << 47, 9};
  for (const std::uint64_t size : numbers) {
    Hostile worker;
    worker.publish_good();
    worker.frame_at(0).message_size = size;
    CHECK_FALSE(worker.reads());
  }
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{ResultFileLayout::arena - 64}, std::uint64_t{ResultFileLayout::arena + 8},
        std::uint64_t{ResultFileLayout::arena + 64}, ~std::uint64_t{63}, std::uint64_t{1} << 63}) {
    Hostile worker;
    worker.publish_good();
    worker.frame_at(0).in_arena = 1;
    worker.frame_at(0).arena_offset = offset;
    CHECK_FALSE(worker.reads());
  }
}

TEST_CASE("a result in an arena that was made absurdly large is a decode error") {
  Hostile worker;
  worker.publish_good();
  REQUIRE(::ftruncate(worker.file.descriptor(), std::numeric_limits<off_t>::max() & ~off_t{4095}) == 0);
  worker.frame_at(0).in_arena = 1;
  worker.frame_at(0).arena_offset = ResultFileLayout::arena;
  worker.frame_at(0).message_size = std::uint64_t{1} << 47;
  CHECK_FALSE(worker.reads());
}

TEST_CASE("a result in a grown arena is read, and the arena cannot shrink below it") {
  Hostile worker;
  worker.publish_good();
  worker.file.grow(ResultFileLayout::arena + 4096);
  worker.frame_at(0).in_arena = 1;
  worker.frame_at(0).arena_offset = ResultFileLayout::arena;
  worker.frame_at(0).message_size = 4096;
  worker.words().result_bytes = sizeof(ResultFrame);
  CHECK(worker.reads());
  CHECK(::ftruncate(worker.file.descriptor(), 4096) < 0);
}

TEST_CASE("a result of no kind, or without its descriptors, is a decode error") {
  for (const int kind : {5, 6, 255}) {
    Hostile worker;
    worker.publish_good();
    worker.frame_at(0).kind = static_cast<ResultFrame::Kind>(kind);
    CHECK_FALSE(worker.reads());
  }
  for (const std::uint16_t descriptors : {1, 300, 65535}) {
    Hostile worker;
    worker.publish_good();
    worker.frame_at(0).descriptors = descriptors;
    CHECK_FALSE(worker.reads());
  }
  Hostile worker;
  worker.publish_good();
  worker.frame_at(0).descriptors = 1;
  const char text[64] = "a message that is longer than the one that was expected";
  REQUIRE(::write(worker.socket.get(), text, sizeof text) == sizeof text);
  CHECK_FALSE(worker.reads());
}

TEST_CASE("a stream's values beyond its credit are a decode error") {
  const auto publish = [](Hostile& worker, std::uint64_t values, std::uint64_t bytes) {
    const std::size_t size = sizeof(ResultFrame) + round_up(bytes, 8);
    for (std::uint64_t i = 0; i < values; ++i) {
      const std::size_t position = worker.words().result_bytes % result_ring_bytes;
      worker.frame_at(position) = {ResultFrame::streamed, 0, 0, 0, {}, bytes, 0, 0};
      worker.words().result_bytes += size;
      if (!worker.reads()) return false;
    }
    return true;
  };
  Hostile many;
  CHECK(publish(many, stream_window_values, 0));
  Hostile with_credit;
  with_credit.sender.values_taken(0, 0);
  CHECK(publish(with_credit, stream_window_values, 0));
  with_credit.sender.values_taken(stream_window_values / 2, 0);
  CHECK(publish(with_credit, stream_window_values / 2, 0));
  CHECK_FALSE(publish(with_credit, 1, 0));
  CHECK_FALSE(publish(many, 1, 0));
  // As many bytes as fit, and the value with which they are too many.
  constexpr std::uint64_t size = 32 * 1024 - sizeof(ResultFrame);
  Hostile large;
  CHECK(publish(large, stream_window_bytes / size + 1, size));
  CHECK_FALSE(publish(large, 1, 0));
}

TEST_CASE("a worker that publishes more than it was told to have room for is found out") {
  Hostile worker;
  TaskSender::Result result;
  std::uint64_t read = 0;
  const auto flood = [&] {
    for (;;) {
      const std::size_t position = worker.words().result_bytes % result_ring_bytes;
      if (result_ring_bytes - position < sizeof(ResultFrame)) {
        worker.words().result_bytes += result_ring_bytes - position;
        continue;
      }
      worker.frame_at(position) = {ResultFrame::arguments_taken, 0, 0, 0, {}, 0, 0, 0};
      worker.words().result_bytes += sizeof(ResultFrame);
      if (!worker.sender.next_result(result)) return;
      ++read;
    }
  };
  CHECK_THROWS_AS(flood(), DecodeError);
  CHECK(read == result_ring_bytes / sizeof(ResultFrame));
}

TEST_CASE("wraps that lead nowhere are a decode error") {
  Hostile worker;
  worker.frame_at(0).kind = ResultFrame::wrap;
  worker.words().result_bytes = result_ring_bytes;
  CHECK_FALSE(worker.reads());
  Hostile early;
  early.publish_good();
  early.frame_at(sizeof(ResultFrame) + 8).kind = ResultFrame::wrap;
  early.words().result_bytes = 2 * sizeof(ResultFrame) + 8;
  CHECK_FALSE(early.reads());
}

TEST_CASE("frames that were never sent cannot have been passed") {
  Hostile worker;
  CHECK(worker.sender.passed() == 0);
  worker.words().frames_passed = 1;
  CHECK(worker.sender.passed() == 1);
  worker.sender.release_frame();
  for (const std::uint64_t passed : {std::uint64_t{0}, std::uint64_t{2}, ~std::uint64_t{0}}) {
    worker.words().frames_passed = passed;
    CHECK_THROWS_AS(worker.sender.passed(), DecodeError);
  }
}

TEST_CASE("a false claim never makes more of a frame than was sent") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000; ++i) {
    Hostile worker;
    const std::uint64_t word = i == 0 ? ~std::uint64_t{0} : i == 1 ? 0 : random() & random();
    worker.claim().word = word;
    CHECK(worker.sender.begun(0) <= 3);
    const std::uint32_t keep = static_cast<std::uint32_t>(i % 4);
    const std::uint32_t left = worker.sender.take_back(0, keep);
    CHECK(left <= 3);
    CHECK(left >= keep);
    CHECK(worker.sender.take_back(0, 0) <= left);
    if (i >= 50) continue;
    worker.claim().begun_at = static_cast<std::int64_t>(random());
    (void)worker.sender.begun_at(0);
  }
}

TEST_CASE("random bytes in all that a worker can write never do harm") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 300; ++i) {
    Hostile worker;
    worker.file.grow(ResultFileLayout::arena + 64 * 1024);
    auto* const numbers = reinterpret_cast<std::uint64_t*>(worker.memory.data());
    for (std::size_t n = 0; n < ResultFileLayout::arena / 8; n += 1 + random() % 3)
      numbers[n] = random() % 4 == 0 ? random() : random() % 300;
    worker.words().result_bytes = random() % (result_ring_bytes / 8) * 8;
    (void)worker.reads();
    (void)worker.sender.begun(0);
    (void)worker.sender.take_back(0, 0);
    worker.sender.awake();
    (void)worker.sender.sleep_until_result(5);
  }
}
