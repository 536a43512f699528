// A lock in one word of a monitor's memory.
#pragma once

#include <atomic>
#include <cofork/ipc/lock_guard.hpp>
#include <cstdint>
#include <optional>

namespace cofork::detail {

/// Who holds it, and how often it was acquired, in one word: so that every acquisition has a word of its own, and what
/// is left of an owner that ended can be freed without hitting the next one. Zero is free.
class LockWord {
 public:
  /// The ticket is the word itself.
  std::optional<GuardedState::Taken> try_take(std::uint32_t place) noexcept {
    std::uint64_t word = word_.load(std::memory_order_seq_cst);
    for (;;) {
      if (is_held(word)) return std::nullopt;
      const std::uint64_t taken = next_count(word) | (place + 1);
      if (word_.compare_exchange_weak(word, taken, std::memory_order_seq_cst))
        return GuardedState::Taken{taken, (word & owner_died) != 0};
    }
  }
  /// False if that acquisition has ended.
  bool release(std::uint64_t ticket) noexcept {
    return word_.compare_exchange_strong(ticket, count_of(ticket), std::memory_order_seq_cst);
  }
  /// Whoever holds it; false if nobody does.
  bool release_any() noexcept {
    std::uint64_t word = word_.load(std::memory_order_seq_cst);
    while (is_held(word))
      if (word_.compare_exchange_weak(word, count_of(word), std::memory_order_seq_cst)) return true;
    return false;
  }
  /// Frees it if the member at `place` holds it.
  void member_gone(std::uint32_t place) noexcept {
    std::uint64_t word = word_.load(std::memory_order_seq_cst);
    while (is_held_by(word, place))
      if (word_.compare_exchange_weak(word, count_of(word) | owner_died, std::memory_order_seq_cst)) return;
  }
  std::uint64_t load() const noexcept { return word_.load(std::memory_order_seq_cst); }

  static bool is_held(std::uint64_t word) noexcept { return (word & owner_mask) != 0; }
  static bool is_held_by(std::uint64_t word, std::uint32_t place) noexcept { return (word & owner_mask) == place + 1; }

 private:
  static constexpr std::uint64_t owner_mask = 0xffff;
  static constexpr std::uint64_t owner_died = 0x10000;
  static constexpr std::uint64_t one_acquisition = 0x20000;
  static_assert(MonitorHeader::max_members < owner_mask);

  static std::uint64_t count_of(std::uint64_t word) noexcept { return word & ~(one_acquisition - 1); }
  static std::uint64_t next_count(std::uint64_t word) noexcept { return count_of(word) + one_acquisition; }

  std::atomic<std::uint64_t> word_;
};

/// A number that no other thread of the process ever has, unlike addresses and the system's own ids; never 0.
inline std::uint64_t this_thread_number() noexcept {
  static std::atomic<std::uint64_t> last{0};
  static thread_local const std::uint64_t number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return number;
}

}  // namespace cofork::detail
