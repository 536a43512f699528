// The limit: bytes through shared memory, from one process to one other. It does not survive that one of them is
// killed.
#pragma once

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "load.hpp"
#include "processes.hpp"

namespace bench {

struct Ring {
  static constexpr std::size_t capacity = std::size_t{1} << 20;
  /// Of a long message: what is written or read between two stores of the position, so that both sides work at once.
  static constexpr std::size_t piece = capacity / 16;

  alignas(64) std::atomic<std::uint64_t> written{0};
  alignas(64) std::atomic<std::uint64_t> read{0};
  alignas(64) Doorbell writer;
  alignas(64) std::array<std::byte, capacity> bytes;
};

/// One ring for each producer; the consumer has one bell for all.
struct Rings {
  std::array<Ring, 2> ring;
  alignas(64) Doorbell reader;
};

class RingSender {
 public:
  RingSender(Rings& rings, int producer) : rings_(&rings), ring_(&rings.ring.at(static_cast<std::size_t>(producer))) {}

  void send(std::span<const std::byte> message) {
    const std::uint64_t size = message.size();
    write(std::as_bytes(std::span(&size, 1)), message.empty());
    write(message, true);
  }

 private:
  void write(std::span<const std::byte> from, bool publish_end) {
    while (!from.empty()) {
      const std::uint64_t wanted = std::min(from.size(), Ring::piece);
      if (Ring::capacity - (written_ - read_) < wanted)
        ring_->writer.wait([&] {
          read_ = ring_->read.load(std::memory_order_acquire);
          return Ring::capacity - (written_ - read_) >= wanted;
        });
      const std::uint64_t at = written_ % Ring::capacity, part = std::min(wanted, Ring::capacity - at);
      std::memcpy(ring_->bytes.data() + at, from.data(), part);
      from = from.subspan(part);
      written_ += part;
      if (from.empty() && !publish_end) return;
      ring_->written.store(written_, std::memory_order_release);
      rings_->reader.ring();
    }
  }

  Rings* rings_;
  Ring* ring_;
  std::uint64_t written_ = 0, read_ = 0;
};

class RingReceiver {
 public:
  RingReceiver(Rings& rings, const Load& load)
      : rings_(&rings), sides_(static_cast<std::size_t>(load.producers)), message_(load.size) {}

  std::span<const std::byte> receive() {
    if (sides_.size() == 2) turn_ = 1 - turn_;
    if (!has_something(turn_)) {
      rings_->reader.wait([&] {
        if (has_something(turn_)) return true;
        if (sides_.size() == 2) turn_ = 1 - turn_;
        return has_something(turn_);
      });
    }
    std::uint64_t size = 0;
    read(std::as_writable_bytes(std::span(&size, 1)));
    if (size > message_.size()) throw std::logic_error("a message is too long");
    const std::span<std::byte> message(message_.data(), size);
    read(message);
    return message;
  }

 private:
  struct Side {
    std::uint64_t written = 0, read = 0, released = 0;
  };

  bool has_something(std::size_t i) {
    Side& side = sides_[i];
    if (side.written != side.read) return true;
    release(i);
    side.written = rings_->ring[i].written.load(std::memory_order_acquire);
    return side.written != side.read;
  }
  void release(std::size_t i) {
    Side& side = sides_[i];
    if (side.released == side.read) return;
    side.released = side.read;
    rings_->ring[i].read.store(side.read, std::memory_order_release);
    rings_->ring[i].writer.ring();
  }
  void read(std::span<std::byte> to) {
    Ring& ring = rings_->ring[turn_];
    Side& side = sides_[turn_];
    while (!to.empty()) {
      if (side.written == side.read) rings_->reader.wait([&] { return has_something(turn_); });
      const std::uint64_t at = side.read % Ring::capacity;
      const std::uint64_t part =
          std::min({to.size(), side.written - side.read, Ring::capacity - at, std::uint64_t{Ring::piece}});
      std::memcpy(to.data(), ring.bytes.data() + at, part);
      to = to.subspan(part);
      side.read += part;
      if (side.read - side.released >= Ring::capacity / 8) release(turn_);
    }
  }

  Rings* rings_;
  std::vector<Side> sides_;
  std::size_t turn_ = 0;
  std::vector<std::byte> message_;
};

class RingChannel {
 public:
  using Worker = Partner;
  explicit RingChannel(const Load& load) : load_(load) {}
  RingSender sender(int producer) { return {*rings_, producer}; }
  RingReceiver receiver() { return {*rings_, load_}; }

 private:
  Load load_;
  Shared<Rings> rings_;
};

}  // namespace bench
