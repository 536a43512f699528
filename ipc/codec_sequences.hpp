// Codecs of strings, vectors and the other sequences.
#pragma once

#include <array>
#include <bitset>
#include <deque>
#include <forward_list>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include <cofork/ipc/codec_core.hpp>
#include <cofork/ipc/large_memory.hpp>

namespace cofork::detail {

template <class T>
inline constexpr std::size_t block_alignment = alignof(T) < ipc::message_alignment ? alignof(T)
                                                                                   : ipc::message_alignment;

/// What stands before a block of `n` elements.
template <class T>
void encode_block_head(Writer& writer, std::size_t n) {
  writer.size(n);
  if constexpr (alignof(T) > 1) writer.align(block_alignment<T>);
}

/// A length, and then the elements as one aligned block.
template <class T>
void encode_block(Writer& writer, const T* elements, std::size_t n) {
  encode_block_head<T>(writer, n);
  writer.bytes(elements, n * sizeof(T));
}

/// The bytes of a block written by `encode_block`, and how many elements they are.
template <class T>
std::pair<const std::byte*, std::size_t> decode_block(Reader& reader) {
  const std::size_t n = reader.size(sizeof(T));
  if constexpr (alignof(T) > 1) reader.align(block_alignment<T>);
  return {reader.in_place(n * sizeof(T)), n};
}

/// For a message that lies at an odd address, against the rules.
template <class C>
C copy_unaligned(const std::byte* block, std::size_t n) {
  if constexpr (std::is_default_constructible_v<typename C::value_type>) {
    C values(n, typename C::value_type{});
    if (n != 0) std::memcpy(static_cast<void*>(values.data()), block, n * sizeof(typename C::value_type));
    return values;
  } else {
    Reader::fail("it is not aligned");
  }
}

/// For memory that is fresh: its pages are announced before they are filled.
template <class C>
C copy_large(const typename C::value_type* elements, std::size_t n) {
  C values;
  values.reserve(n);
  ipc::expect_filling(values.data(), n * sizeof(*elements));
  values.insert(values.end(), elements, elements + n);
  return values;
}

/// Strings and vectors of plain data: built from the message in one pass.
template <class C>
C decode_contiguous(Reader& reader) {
  using T = typename C::value_type;
  const auto [block, n] = decode_block<T>(reader);
  const bool aligned = reinterpret_cast<std::uintptr_t>(block) % alignof(T) == 0;
  const T* const elements = reinterpret_cast<const T*>(block);
  // One variable for every case: g++ 12 makes it in the caller's place only then.
  C values = !aligned                             ? copy_unaligned<C>(block, n)
             : n * sizeof(T) >= ipc::large_memory ? copy_large<C>(elements, n)
                                                  : C(elements, elements + n);
  asm volatile("" : : : "memory");  // as in Reader::bytes
  return values;
}

template <class C>
void encode_elements(Writer& writer, const C& values, std::size_t n) {
  const Nesting nesting(writer);
  writer.size(n);
  for (const auto& value : values) ipc::encode(writer, value);
}

/// Converts to a T by decoding it, so that a container's `emplace` makes the T in its place and has nothing to move.
template <class T>
struct Decoding {
  Reader& reader;
  operator T() const { return ipc::decode<T>(reader); }
};

/// Whether T(Decoding<T>) is the conversion, and not a constructor of T that takes anything.
template <class T>
inline constexpr bool decodes_in_place = std::is_aggregate_v<T> || std::is_arithmetic_v<T>;
template <class C, class Traits, class A>
inline constexpr bool decodes_in_place<std::basic_string<C, Traits, A>> = true;
template <class T, class A>
inline constexpr bool decodes_in_place<std::vector<T, A>> = true;
template <class A, class B>
inline constexpr bool decodes_in_place<std::pair<A, B>> = true;

/// Sequences that grow at their end.
template <class C>
C decode_elements(Reader& reader) {
  using T = typename C::value_type;
  const Nesting nesting(reader);
  const std::size_t n = reader.size(min_size<T>());
  C values;
  if constexpr (requires { values.reserve(n); }) values.reserve(reader.affordable(n, sizeof(T)));
  for (std::size_t i = 0; i != n; ++i) {
    if constexpr (decodes_in_place<T>) {
      values.emplace_back(Decoding<T>{reader});
    } else {
      values.emplace_back(ipc::decode<T>(reader));
    }
  }
  return values;
}

template <class A, std::size_t... I>
A decode_array(Reader& reader, std::index_sequence<I...>) {
  return A{{(void(I), ipc::decode<typename A::value_type>(reader))...}};
}

template <class Bits>
void encode_bits(Writer& writer, const Bits& bits, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 8) {
    unsigned byte = 0;
    for (std::size_t j = 0; j != 8 && i + j != n; ++j) byte |= static_cast<unsigned>(bits[i + j]) << j;
    writer.value(static_cast<std::uint8_t>(byte));
  }
}

template <class Bits>
void decode_bits(Reader& reader, Bits& bits, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 8) {
    const unsigned byte = reader.value<std::uint8_t>();
    for (std::size_t j = 0; j != 8 && i + j != n; ++j) bits[i + j] = (byte >> j & 1) != 0;
  }
}

}  // namespace cofork::detail

namespace cofork {

template <class C, class Traits, class A>
struct Codec<std::basic_string<C, Traits, A>> : detail::OwnCodec<C> {
  using String = std::basic_string<C, Traits, A>;
  static void encode(ipc::Writer& writer, const String& s) { detail::encode_block(writer, s.data(), s.size()); }
  static String decode(ipc::Reader& reader) { return detail::decode_contiguous<String>(reader); }
};

template <class T, class A>
struct Codec<std::vector<T, A>> : detail::OwnCodec<T> {
  using Vector = std::vector<T, A>;
  static void encode(ipc::Writer& writer, const Vector& values) {
    if constexpr (detail::is_bytes<T>()) {
      detail::encode_block(writer, values.data(), values.size());
    } else {
      detail::encode_elements(writer, values, values.size());
    }
  }
  static Vector decode(ipc::Reader& reader) {
    if constexpr (detail::is_bytes<T>()) {
      return detail::decode_contiguous<Vector>(reader);
    } else {
      return detail::decode_elements<Vector>(reader);
    }
  }
};

template <class A>
struct Codec<std::vector<bool, A>> : detail::OwnCodec<> {
  using Vector = std::vector<bool, A>;
  static void encode(ipc::Writer& writer, const Vector& bits) {
    writer.size(bits.size());
    detail::encode_bits(writer, bits, bits.size());
  }
  static Vector decode(ipc::Reader& reader) {
    const std::size_t n = reader.size(0);
    if (n / 8 > reader.remaining()) ipc::Reader::fail("a length beyond the end of the message");
    Vector bits(n);
    detail::decode_bits(reader, bits, n);
    return bits;
  }
};

template <std::size_t N>
struct Codec<std::bitset<N>> : detail::OwnCodec<> {
  static constexpr std::size_t min_size = N == 0 ? 1 : (N + 7) / 8;
  static void encode(ipc::Writer& writer, const std::bitset<N>& bits) {
    detail::encode_bits(writer, bits, N);
    if constexpr (N == 0) writer.value(std::uint8_t{0});
  }
  static std::bitset<N> decode(ipc::Reader& reader) {
    std::bitset<N> bits;
    detail::decode_bits(reader, bits, N);
    if constexpr (N == 0) reader.value<std::uint8_t>();
    return bits;
  }
};

template <class T, std::size_t N>
struct Codec<std::array<T, N>> : detail::OwnCodec<T> {
  using Array = std::array<T, N>;
  static constexpr std::size_t min_size = N == 0 ? 1 : N * detail::min_size<T>();
  static constexpr bool is_bytes = N != 0 && detail::is_bytes<T>();
  static void encode(ipc::Writer& writer, const Array& values) {
    if constexpr (N == 0) {
      writer.value(std::uint8_t{0});
    } else if constexpr (is_bytes) {
      writer.bytes(values.data(), sizeof values);
    } else {
      for (const T& value : values) ipc::encode(writer, value);
    }
  }
  static Array decode(ipc::Reader& reader) {
    if constexpr (N == 0) {
      reader.value<std::uint8_t>();
      return {};
    } else if constexpr (is_bytes) {
      return detail::decode_bytes<Array>(reader);
    } else if constexpr (std::default_initializable<T> && std::is_move_assignable_v<T>) {
      Array values;
      for (T& value : values) value = ipc::decode<T>(reader);
      return values;
    } else {
      return detail::decode_array<Array>(reader, std::make_index_sequence<N>{});
    }
  }
};

template <class T, class A>
struct Codec<std::deque<T, A>> : detail::OwnCodec<T> {
  using Deque = std::deque<T, A>;
  static void encode(ipc::Writer& writer, const Deque& values) {
    detail::encode_elements(writer, values, values.size());
  }
  static Deque decode(ipc::Reader& reader) { return detail::decode_elements<Deque>(reader); }
};

template <class T, class A>
struct Codec<std::list<T, A>> : detail::OwnCodec<T> {
  using List = std::list<T, A>;
  static void encode(ipc::Writer& writer, const List& values) {
    detail::encode_elements(writer, values, values.size());
  }
  static List decode(ipc::Reader& reader) { return detail::decode_elements<List>(reader); }
};

template <class T, class A>
struct Codec<std::forward_list<T, A>> : detail::OwnCodec<T> {
  using List = std::forward_list<T, A>;
  static void encode(ipc::Writer& writer, const List& values) {
    detail::encode_elements(writer, values, static_cast<std::size_t>(std::distance(values.begin(), values.end())));
  }
  static List decode(ipc::Reader& reader) {
    const detail::Nesting nesting(reader);
    const std::size_t n = reader.size(detail::min_size<T>());
    List values;
    auto last = values.before_begin();
    for (std::size_t i = 0; i != n; ++i) last = values.insert_after(last, ipc::decode<T>(reader));
    return values;
  }
};

}  // namespace cofork
