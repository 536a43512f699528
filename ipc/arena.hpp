// Blocks in the tail of a shared file, for messages that do not fit a ring. The memory stays faulted in from one
// message to the next: fresh pages cost more than copying into them.
#pragma once

#include <cofork/ipc/memory_file.hpp>
#include <cstddef>
#include <vector>

namespace cofork::ipc {

/// Hands out the part of `file` from `begin` on, which it enlarges as needed. Offsets count from the file's first byte.
class Arena {
 public:
  Arena(MemoryFile& file, Mapping& mapping, std::size_t begin) : file_(file), mapping_(mapping), begin_(begin) {}

  /// A block of `size` bytes or more, 64-byte aligned. The mapping may move. Throws `std::system_error`.
  std::size_t allocate(std::size_t size);
  /// Makes the block at `offset` one of `size` bytes where it lies, if there is room; false otherwise.
  bool extend(std::size_t offset, std::size_t size);
  void free(std::size_t offset) noexcept;

  bool empty() const noexcept { return blocks_.empty(); }
  /// True if there is memory that `give_back` would return to the system.
  bool holds_memory() const noexcept { return touched_ > begin_; }
  /// Returns all memory to the system; only when empty.
  void give_back();

 private:
  struct Block {
    std::size_t offset, end;
  };
  void enlarge(std::size_t end);

  MemoryFile& file_;
  Mapping& mapping_;
  std::size_t begin_;
  std::size_t touched_ = 0;
  std::vector<Block> blocks_;  // by offset
};

}  // namespace cofork::ipc
