// What a channel carries.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

namespace bench {

/// Of messages from producers to the measuring process; in a round trip the one producer is the partner.
struct Load {
  std::size_t size;
  int producers;
  double seconds;
  int consumer_cpu = -1;  ///< negative: any
  int producer_cpu = -1;

  /// How many messages a bounded queue has room for.
  std::size_t capacity() const { return std::clamp<std::size_t>((std::size_t{1} << 20) / size, 16, 4096); }
};

/// In the first bytes of each message.
inline void stamp(std::span<std::byte> message, int producer, std::uint64_t number) {
  const std::uint64_t word = static_cast<std::uint64_t>(producer) << 56 | number;
  std::memcpy(message.data(), &word, sizeof word);
}

/// That nothing is lost, doubled, cut, or out of its order.
class Check {
 public:
  explicit Check(const Load& load) : size_(load.size), next_(static_cast<std::size_t>(load.producers)) {}

  void operator()(std::span<const std::byte> message) {
    std::uint64_t word = 0;
    if (message.size() == size_) std::memcpy(&word, message.data(), sizeof word);
    const std::size_t producer = word >> 56;
    if (message.size() != size_ || producer >= next_.size() || (word << 8 >> 8) != next_[producer]++)
      throw std::logic_error("a message is wrong");
  }

 private:
  std::size_t size_;
  std::vector<std::uint64_t> next_;
};

}  // namespace bench
