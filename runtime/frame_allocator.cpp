#include <cofork/runtime/frame_allocator.hpp>

namespace cofork::detail {

namespace {
// Under AddressSanitizer every frame goes back to the system at once, so that a use after free is seen.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint32_t frames_kept = 0;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::uint32_t frames_kept = 0;
#else
constexpr std::uint32_t frames_kept = 4096;
#endif
#else
constexpr std::uint32_t frames_kept = 4096;
#endif
}  // namespace

void FrameAllocator::keep_frames() noexcept { lists_.limit = frames_kept; }

void FrameAllocator::release_frames() noexcept {
  lists_.limit = 0;
  for (std::size_t index = 0; index < classes; ++index) {
    while (Block* block = lists_.heads[index]) {
      lists_.heads[index] = block->next;
      ::operator delete(block);
    }
    lists_.counts[index] = 0;
  }
}

}  // namespace cofork::detail
