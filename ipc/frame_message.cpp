#include <algorithm>
#include <cofork/ipc/frame_message.hpp>
#include <cstring>

namespace cofork::ipc {

void FrameMessage::drop() noexcept {
  if (in_arena()) arena_.free(release_arena());
  restart();
  moved_to(nullptr, 0);
}

void FrameMessage::grow(std::size_t at_least) {
  const std::size_t capacity = std::max(at_least, 2 * size());
  if (in_arena() && arena_.extend(arena_offset_, capacity)) {
    moved_to(mapping_.data() + arena_offset_, capacity);
    return;
  }
  // The mapping may move, and with it what is written so far.
  const std::size_t written_at = static_cast<std::size_t>(begin_ - mapping_.data());
  const std::size_t written = size();
  const std::size_t offset = arena_.allocate(capacity);
  std::byte* const base = mapping_.data();
  std::memcpy(base + offset, base + written_at, written);
  if (in_arena()) arena_.free(arena_offset_);
  arena_offset_ = offset;
  begin_ = base + written_at;
  current_ = begin_ + written;
  moved_to(base + offset, capacity);
}

}  // namespace cofork::ipc
