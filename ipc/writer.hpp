// Where a message is written: a cursor over memory that the derived class provides (a ring, an arena, the heap).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include <cofork/ipc/descriptor.hpp>

namespace cofork::ipc {

/// Containers and pointers inside each other: more than this is refused, on both sides.
inline constexpr unsigned max_nesting = 1000;
/// The alignment of a message's first byte, and the largest that anything inside it can have.
inline constexpr std::size_t message_alignment = 64;

/// Appends to a message. Offsets, and so alignment, count from the message's first byte, which is 64-byte aligned both
/// here and where it is read. Numbers are in the machine's own byte order.
class Writer {
 public:
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// Appends `n` bytes.
  void bytes(const void* from, std::size_t n) {
    if (n == 0) return;
    std::memcpy(claim(n), from, n);
  }

  /// Appends a trivially copyable value as it lies in memory, without alignment.
  template <class U>
  void value(U v) {
    static_assert(std::is_trivially_copyable_v<U>);
    std::memcpy(claim(sizeof v), &v, sizeof v);
  }

  /// Appends a length: one byte below 254, five below 2^32, nine above.
  void size(std::size_t n) {
    if (n < 254) {
      value(static_cast<std::uint8_t>(n));
    } else {
      long_size(n);
    }
  }

  /// Appends zeros up to the next multiple of `alignment`, a power of two not above `message_alignment`.
  void align(std::size_t alignment) {
    const std::size_t padding = (alignment - size() % alignment) % alignment;
    if (padding != 0) std::memset(claim(padding), 0, padding);
  }

  /// Makes room for `n` more bytes, so that writing them grows the memory once at most.
  void reserve(std::size_t n) {
    if (n > room()) make_room(n);
  }

  /// Sends a duplicate of `fd`, made now, beside the bytes; the reader takes descriptors in the same order.
  /// `fd` stays the caller's. Throws `std::system_error`.
  void descriptor(int fd);

  /// How much has been written.
  std::size_t size() const { return static_cast<std::size_t>(current_ - begin_); }
  const std::byte* data() const { return begin_; }
  std::span<const std::byte> message() const { return {begin_, size()}; }
  /// The descriptors to send with the message.
  std::vector<Descriptor>& descriptors() { return descriptors_; }

  /// Appends `n` bytes to be filled in at once, before anything else is written.
  std::byte* claim(std::size_t n) {
    if (n > room()) [[unlikely]]
      make_room(n);
    std::byte* const at = current_;
    current_ += n;
    return at;
  }

  /// Use `Nesting`. Throws `std::length_error` when nested too deep.
  void enter() {
    if (++depth_ > max_nesting) too_deep();
  }
  void leave() { --depth_; }

 protected:
  Writer(std::byte* begin, std::size_t capacity) : begin_(begin), current_(begin), end_(begin + capacity) {}
  ~Writer() = default;

  /// Provides memory for at least `at_least` bytes in all, keeping what is written (`size()` bytes from `begin_`), and
  /// calls `moved_to`.
  virtual void grow(std::size_t at_least) = 0;
  /// The message now lies at `begin`, 64-byte aligned, with room for `capacity` bytes.
  void moved_to(std::byte* begin, std::size_t capacity) {
    current_ = begin + size();
    begin_ = begin;
    end_ = begin + capacity;
  }
  /// Forgets what was written, to begin another message in the same memory.
  void restart() {
    current_ = begin_;
    depth_ = 0;
    descriptors_.clear();
  }
  std::size_t capacity() const { return static_cast<std::size_t>(end_ - begin_); }
  std::size_t room() const { return static_cast<std::size_t>(end_ - current_); }

  std::byte* begin_;
  std::byte* current_;
  std::byte* end_;

 private:
  void make_room(std::size_t n);
  void long_size(std::size_t n);
  [[noreturn]] void too_deep();

  unsigned depth_ = 0;
  std::vector<Descriptor> descriptors_;
};

/// A writer into private heap memory that doubles as it fills and is kept for the next message.
class BufferWriter final : public Writer {
 public:
  BufferWriter() : Writer(nullptr, 0) {}
  explicit BufferWriter(std::size_t capacity) : BufferWriter() { reserve(capacity); }
  ~BufferWriter();

  /// Begins the next message in the same memory; descriptors not taken are closed.
  void clear() { restart(); }

 private:
  void grow(std::size_t at_least) override;
};

/// One level of nesting of a `Writer` or a `Reader`, for a codec that may call itself.
template <class Cursor>
class Nesting {
 public:
  explicit Nesting(Cursor& cursor) : cursor_(cursor) { cursor_.enter(); }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  ~Nesting() { cursor_.leave(); }

 private:
  Cursor& cursor_;
};

}  // namespace cofork::ipc
