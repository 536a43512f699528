// Files for messages that are too long for a packet.
#pragma once

#include <cofork/ipc/memory_file.hpp>
#include <cstddef>
#include <cstdint>

namespace cofork::detail {

/// A memory file that holds one message at a time, mapped by its sender. Its first page is a word by which the receiver
/// gives it back; the message begins after that. It can grow, and never shrinks.
class MessageFile {
 public:
  static constexpr std::size_t front = 4096;

  MessageFile() = default;
  /// Throws std::system_error.
  explicit MessageFile(std::size_t capacity);

  bool valid() const noexcept { return file_.valid(); }
  int descriptor() const noexcept { return file_.descriptor(); }
  std::byte* data() const noexcept { return mapping_.data() + front; }
  std::size_t capacity() const noexcept { return mapping_.size() - front; }
  /// Throws std::system_error.
  void grow(std::size_t capacity);

  /// It is about to be sent, or was not, after all.
  void lend() noexcept { set_word(lent); }
  void take_back() noexcept { set_word(free); }
  /// Whether the sender may write another message into it.
  bool available() const noexcept;
  /// For the receiver, when it is through with the message.
  static void give_back(int descriptor) noexcept;

 private:
  static constexpr std::uint32_t free = 0, lent = 1;
  void set_word(std::uint32_t word) noexcept;

  ipc::MemoryFile file_;
  ipc::Mapping mapping_;
};

/// Files that were used before: writing to memory that is there already takes a fraction of the time. They are kept for
/// messages of the same connection, as their receivers may still look into them, and up to a limit for all connections
/// of the process together. One that is never given back, as its receiver died, makes room in time.
class MessageFiles {
 public:
  using Owner = std::uint64_t;

  /// Names a connection.
  static Owner new_owner() noexcept;
  /// One of at least that capacity. Throws std::system_error.
  static MessageFile take(Owner owner, std::size_t capacity);
  static void keep(Owner owner, MessageFile file) noexcept;
  /// The connection is closed.
  static void drop_all_of(Owner owner) noexcept;
};

}  // namespace cofork::detail
