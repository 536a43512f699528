// Sleeping on a word of shared memory.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace cofork::ipc {

/// Sleeps while `word` is `expected`, until woken, interrupted, or the timeout; the caller looks again at why it slept.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::optional<std::chrono::nanoseconds> timeout = std::nullopt);
/// Wakes up to `count` sleepers of `word`, in any process.
void futex_wake(std::atomic<std::uint32_t>& word, int count);

}  // namespace cofork::ipc
