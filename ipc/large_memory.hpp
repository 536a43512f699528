// What makes memory for large values cheaper: the first touch of a page costs more than copying into it.
#pragma once

#include <cstddef>

namespace cofork::ipc {

/// From here on it is worth asking for huge pages.
inline constexpr std::size_t large_memory = std::size_t{4} << 20;

/// `memory`, freshly allocated, is about to be filled: lets the kernel back it by huge pages, where it does so on
/// request.
void expect_filling(void* memory, std::size_t size) noexcept;

/// From now on this process keeps large blocks that are freed, still mapped, for the next ones, up to `bytes` of them.
void keep_freed_memory(std::size_t bytes) noexcept;
/// Returns what was kept to the system.
void return_freed_memory() noexcept;

}  // namespace cofork::ipc
