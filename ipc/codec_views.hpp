// Codecs of views: what is decoded points into the message, with nothing copied. For parameters only (`is_view_v`).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include <cofork/ipc/codec_core.hpp>
#include <cofork/ipc/codec_sequences.hpp>

namespace cofork::detail {

template <class T>
const T* decode_view(Reader& reader, std::size_t& n) {
  const auto [block, count] = decode_block<T>(reader);
  if (reinterpret_cast<std::uintptr_t>(block) % alignof(T) != 0) Reader::fail("it is not aligned");
  n = count;
  return reinterpret_cast<const T*>(block);
}

}  // namespace cofork::detail

namespace cofork {

template <class C, class Traits>
struct Codec<std::basic_string_view<C, Traits>> : detail::OwnCodec<C> {
  using View = std::basic_string_view<C, Traits>;
  static constexpr bool is_view = true;
  static void encode(ipc::Writer& writer, View view) { detail::encode_block(writer, view.data(), view.size()); }
  static View decode(ipc::Reader& reader) {
    std::size_t n = 0;
    const C* const data = detail::decode_view<C>(reader, n);
    return View(data, n);
  }
};

/// The elements lie in the message as they lie in memory: any trivially copyable type, without the checks that decoding
/// one by one would make (of a bool, for one).
template <class T, std::size_t extent>
requires(detail::is_raw<T>() && alignof(T) <= ipc::message_alignment)  //
    struct Codec<std::span<const T, extent>> : detail::OwnCodec<T> {
  using View = std::span<const T, extent>;
  static constexpr bool is_view = true;
  static void encode(ipc::Writer& writer, View view) { detail::encode_block(writer, view.data(), view.size()); }
  static View decode(ipc::Reader& reader) {
    std::size_t n = 0;
    const T* const data = detail::decode_view<T>(reader, n);
    if (extent != std::dynamic_extent && n != extent) ipc::Reader::fail("a span of another length");
    return View(data, n);
  }
};

}  // namespace cofork
