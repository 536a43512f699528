// A message on its way into shared memory: first in a ring, and in the arena once it is too long for that.
#pragma once

#include <cofork/ipc/arena.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/writer.hpp>
#include <cstddef>
#include <utility>

namespace cofork::ipc {

class FrameMessage final : public Writer {
 public:
  /// Both lie in the file that `mapping` maps.
  FrameMessage(Arena& arena, Mapping& mapping) : Writer(nullptr, 0), arena_(arena), mapping_(mapping) {}

  /// Begins a message in the ring, where it has `capacity` bytes. Of one that was not sent nothing is left.
  void begin_at(std::byte* memory, std::size_t capacity) {
    drop();
    moved_to(memory, capacity);
  }
  /// Forgets the message, with its descriptors and its memory in the arena.
  void drop() noexcept;
  /// Forgets what was written beyond `size`, and all but so many descriptors.
  void rewind(std::size_t size, std::size_t descriptor_count) {
    current_ = begin_ + size;
    descriptors().resize(descriptor_count);
  }

  bool in_arena() const noexcept { return arena_offset_ != 0; }
  /// Of the message in the file, if it is in the arena; 0 if it is in the ring.
  std::size_t arena_offset() const noexcept { return arena_offset_; }
  /// The message was sent: its memory in the arena is the caller's to free.
  std::size_t release_arena() noexcept { return std::exchange(arena_offset_, 0); }

 private:
  void grow(std::size_t at_least) override;

  Arena& arena_;
  Mapping& mapping_;
  std::size_t arena_offset_ = 0;
};

}  // namespace cofork::ipc
