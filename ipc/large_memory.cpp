#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cofork/ipc/large_memory.hpp>
#include <cstdint>
#include <limits>

namespace cofork::ipc {

void expect_filling(void* memory, std::size_t size) noexcept {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t huge_page = std::uintptr_t{2} << 20;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (begin + huge_page - 1) & ~(huge_page - 1);
  const std::uintptr_t last = (begin + size) & ~(huge_page - 1);
  // Only advice: where it is not taken, small pages do.
  if (first < last) static_cast<void>(::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE));
#endif
}

void keep_freed_memory(std::size_t bytes) noexcept {
#ifdef __GLIBC__
  // Blocks that have a mapping of their own are unmapped when they are freed: take all from the heap.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max())));
#endif
}

void return_freed_memory() noexcept {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace cofork::ipc
