// Bytes that a stream has read and nobody has taken yet.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

namespace cofork::detail {

class ReadBuffer {
 public:
  bool empty() const noexcept { return begin_ == end_; }
  std::span<const std::byte> bytes() const noexcept { return {memory_.get() + begin_, end_ - begin_}; }

  void consume(std::size_t count) noexcept {
    begin_ += count;
    if (!empty()) return;
    begin_ = end_ = 0;
    if (capacity_ > kept) {
      memory_.reset();
      capacity_ = 0;
    }
  }
  /// Moves as many bytes as there are and fit.
  std::size_t take(std::span<std::byte> into) noexcept {
    const std::size_t count = std::min(into.size(), end_ - begin_);
    if (count == 0) return 0;
    std::memcpy(into.data(), memory_.get() + begin_, count);
    consume(count);
    return count;
  }
  /// Puts bytes in front of those that are there.
  void give_back(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    if (begin_ < bytes.size()) {
      const std::size_t held = end_ - begin_;
      resize(bytes.size() + held, bytes.size());
    }
    begin_ -= bytes.size();
    std::memcpy(memory_.get() + begin_, bytes.data(), bytes.size());
  }

  /// Where to read to; `filled` says how much has been.
  std::span<std::byte> room() {
    if (end_ == capacity_) resize(begin_ > 0 ? capacity_ : std::max(first, 2 * capacity_), 0);
    return {memory_.get() + end_, capacity_ - end_};
  }
  void filled(std::size_t count) noexcept { end_ += count; }

 private:
  static constexpr std::size_t first = 8 * 1024;
  static constexpr std::size_t kept = 64 * 1024;

  void resize(std::size_t capacity, std::size_t begin) {
    const std::size_t held = end_ - begin_;
    auto memory = std::make_unique<std::byte[]>(capacity);
    if (held > 0) std::memcpy(memory.get() + begin, memory_.get() + begin_, held);
    memory_ = std::move(memory);
    capacity_ = capacity;
    begin_ = begin;
    end_ = begin + held;
  }

  std::unique_ptr<std::byte[]> memory_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace cofork::detail
