// How a message is read: a cursor that trusts nothing, over memory that another process may be writing meanwhile.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/writer.hpp>

namespace cofork::detail {
template <std::size_t size>
using Unsigned =
    std::conditional_t<size == 1, std::uint8_t,
                       std::conditional_t<size == 2, std::uint16_t,
                                          std::conditional_t<size == 4, std::uint32_t,
                                                             std::conditional_t<size == 8, std::uint64_t, void>>>>;
}  // namespace cofork::detail

namespace cofork::ipc {

/// Reads one whole message. Everything that does not fit what is there is `DecodeError`. Each byte is fetched once:
/// what was checked is what is used, even when the message lies in memory that a hostile process still changes.
class Reader {
 public:
  /// Over `message`, whose first byte is 64-byte aligned, and the descriptors that came with it. Both must outlive the
  /// reader, and the message also every view decoded from it. Descriptors that are not taken stay the caller's.
  explicit Reader(std::span<const std::byte> message, std::span<Descriptor> descriptors = {})
      : begin_(message.data()), current_(begin_), end_(begin_ + message.size()), descriptors_(descriptors) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// Copies the next `n` bytes out.
  void bytes(void* to, std::size_t n) {
    if (n == 0) return;
    std::memcpy(to, in_place(n), n);
    asm volatile("" : : "r"(to) : "memory");
  }

  /// The next value, written by `Writer::value<U>`. A bool other than 0 or 1 is `DecodeError`.
  template <class U>
  U value() {
    static_assert(std::is_trivially_copyable_v<U>);
    if constexpr (std::is_same_v<U, bool>) {
      const auto byte = value<std::uint8_t>();
      if (byte > 1) fail("a bool that is neither true nor false");
      return byte != 0;
    } else {
      return fetch<U>(in_place(sizeof(U)));
    }
  }

  /// A length of things that take `min_bytes_each` bytes or more: `DecodeError` if so many cannot be there. With 0 the
  /// length is not checked: do it before allocating.
  std::size_t size(std::size_t min_bytes_each) {
    std::size_t n = value<std::uint8_t>();
    if (n >= 254) n = long_size(n);
    if (min_bytes_each != 0 && n > remaining() / min_bytes_each) fail("a length beyond the end of the message");
    return n;
  }

  /// How many of `n` things of `size_of_each` bytes to allocate ahead: all, unless that is out of proportion to the
  /// bytes that are left to make them from.
  std::size_t affordable(std::size_t n, std::size_t size_of_each) const {
    const std::size_t memory_per_byte = 32;
    const std::size_t limit = 1 + remaining() * memory_per_byte / size_of_each;
    return n < limit ? n : limit;
  }

  /// The next `n` bytes where they lie, valid as long as the message.
  const std::byte* in_place(std::size_t n) {
    if (n > remaining()) [[unlikely]]
      truncated(n);
    const std::byte* const at = current_;
    current_ += n;
    return at;
  }

  /// Skips what `Writer::align` wrote.
  void align(std::size_t alignment) {
    const auto offset = static_cast<std::size_t>(current_ - begin_);
    in_place((alignment - offset % alignment) % alignment);
  }

  /// The next descriptor, now the caller's. `DecodeError` if there is none left.
  Descriptor descriptor();

  std::size_t remaining() const { return static_cast<std::size_t>(end_ - current_); }
  /// `DecodeError` unless all of the message has been read.
  void finish() const {
    if (current_ != end_) fail("bytes are left after the end of the message");
  }

  /// Use `Nesting`. `DecodeError` when nested too deep.
  void enter() {
    if (++depth_ > max_nesting) fail("nested too deep");
  }
  void leave() { --depth_; }

  /// Throws `DecodeError`: "malformed message: " and `why`.
  [[noreturn]] static void fail(const char* why);

 private:
  template <class U>
  static U fetch(const std::byte* from) {
    using Bits = detail::Unsigned<sizeof(U)>;
    if constexpr (std::is_void_v<Bits>) {
      U v;
      std::memcpy(&v, from, sizeof v);
      asm volatile("" : "+m"(v));
      return v;
    } else {
      // Opaque to the compiler from here on, so that it cannot fetch the value from the message a second time.
      Bits bits;
      std::memcpy(&bits, from, sizeof bits);
      asm volatile("" : "+r"(bits));
      return std::bit_cast<U>(bits);
    }
  }

  std::size_t long_size(std::size_t marker);
  [[noreturn]] void truncated(std::size_t wanted) const;

  const std::byte* begin_;
  const std::byte* current_;
  const std::byte* end_;
  std::span<Descriptor> descriptors_;
  unsigned depth_ = 0;
};

}  // namespace cofork::ipc
