// encode() and decode(), for everything but the standard library's class templates.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include <cofork/ipc/codec_types.hpp>

namespace cofork::ipc {

/// Appends `value`. A type that cannot travel is a compile error that names it. `std::length_error` if it is nested
/// more than `max_nesting` deep; `std::system_error` if a descriptor in it cannot be duplicated.
template <class T>
void encode(Writer& writer, const T& value);

/// Reads what `encode<T>` wrote. `DecodeError` if the message holds anything else.
template <class T>
T decode(Reader& reader);

}  // namespace cofork::ipc

namespace cofork::detail {

using ipc::Nesting;
using ipc::Reader;
using ipc::Writer;

template <class T>
T decode_bytes(Reader& reader) {
  if constexpr (std::is_trivially_default_constructible_v<T>) {
    T value;
    reader.bytes(&value, sizeof value);
    return value;
  } else {
    std::array<std::byte, sizeof(T)> raw;
    reader.bytes(raw.data(), raw.size());
    return std::bit_cast<T>(raw);
  }
}

template <class T>
void decode_into(Reader& reader, T& value) {
  if constexpr (std::is_array_v<T>) {
    if constexpr (is_bytes<T>()) {
      reader.bytes(&value, sizeof value);
    } else {
      for (auto& element : value) decode_into(reader, element);
    }
  } else {
    value = ipc::decode<T>(reader);
  }
}

template <class T, class... Field>
T decode_aggregate(Reader& reader, Types<Field...>) {
  if constexpr (sizeof...(Field) == 0) {
    reader.value<std::uint8_t>();
    return T{};
  } else if constexpr ((std::is_array_v<Field> || ...)) {
    static_assert(std::default_initializable<T>,
                  "an aggregate with an array needs a default constructor to be decoded");
    T value{};
    with_fields<sizeof...(Field)>(value, [&]<class...>(auto&... field) { (decode_into(reader, field), ...); });
    return value;
  } else if constexpr (requires { T{std::declval<Field>()...}; }) {
    return T{ipc::decode<Field>(reader)...};
  } else if constexpr (requires { T(std::declval<Field>()...); }) {
    return T(ipc::decode<Field>(reader)...);  // braces refuse to narrow to a bit-field
  } else {
    T value{};
    with_fields<sizeof...(Field)>(value, [&]<class...>(auto&... field) { (decode_into(reader, field), ...); });
    return value;
  }
}

template <class T>
void encode_value(Writer& writer, const T& value) {
  constexpr Kind kind = kind_of<T>();
  if constexpr (kind == Kind::scalar) {
    writer.value(value);
  } else if constexpr (is_bytes<T>()) {
    writer.bytes(&value, sizeof value);
  } else if constexpr (kind == Kind::array) {
    for (const auto& element : value) ipc::encode(writer, element);
  } else if constexpr (kind == Kind::aggregate) {
    if constexpr (count_fields<T>() == 0) {
      writer.value(std::uint8_t{0});
    } else {
      with_fields<count_fields<T>()>(value, [&]<class...>(const auto&... field) { (ipc::encode(writer, field), ...); });
    }
  } else {
    // A class's own function may write nothing: then one byte stands for it, so that its elements can be counted.
    const std::size_t before = writer.size();
    const Nesting nesting(writer);
    ipc::OutputArchive archive(writer);
    call_serialize(archive, const_cast<T&>(value));
    if (writer.size() == before) writer.value(std::uint8_t{0});
  }
}

template <class T>
T decode_serialized(Reader& reader) {
  if constexpr (std::default_initializable<T>) {
    const std::size_t before = reader.remaining();
    const Nesting nesting(reader);
    T value{};
    ipc::InputArchive archive(reader);
    call_serialize(archive, value);
    if (reader.remaining() == before) reader.value<std::uint8_t>();
    return value;
  } else {
    std::abort();
  }
}

template <class T>
T decode_value(Reader& reader) {
  constexpr Kind kind = kind_of<T>();
  if constexpr (std::is_enum_v<T> && is_boolean<T>) {
    return static_cast<T>(reader.value<bool>());
  } else if constexpr (kind == Kind::scalar) {
    return reader.value<T>();
  } else if constexpr (is_bytes<T>()) {
    return decode_bytes<T>(reader);
  } else if constexpr (kind == Kind::aggregate) {
    return decode_aggregate<T>(reader, fields_of<T>{});
  } else {
    static_assert(std::default_initializable<T>,
                  "serialize() fills an object that exists already: this type needs a default constructor, or a "
                  "cofork::Codec<T> instead");
    return decode_serialized<T>(reader);
  }
}

template <class T>
void encode_custom(Writer& writer, const T& value) {
  if constexpr (std::is_base_of_v<OwnCodecBase, Codec<T>>) {
    Codec<T>::encode(writer, value);
  } else {
    const std::size_t before = writer.size();
    const Nesting nesting(writer);
    Codec<T>::encode(writer, value);
    if (writer.size() == before) writer.value(std::uint8_t{0});
  }
}

template <class T>
T decode_custom(Reader& reader) {
  if constexpr (std::is_base_of_v<OwnCodecBase, Codec<T>>) {
    return Codec<T>::decode(reader);
  } else {
    const std::size_t before = reader.remaining();
    const Nesting nesting(reader);
    T value = Codec<T>::decode(reader);
    if (reader.remaining() == before) reader.value<std::uint8_t>();
    return value;
  }
}

}  // namespace cofork::detail

namespace cofork::ipc {

template <class T>
void encode(Writer& writer, const T& value) {
  detail::require_codec<T>();
  if constexpr (!Encodable<T>) {
    return;
  } else if constexpr (detail::kind_of<T>() == detail::Kind::custom) {
    detail::encode_custom<T>(writer, value);
  } else {
    detail::encode_value<T>(writer, value);
  }
}

template <class T>
T decode(Reader& reader) {
  detail::require_codec<T>();
  using Value = std::remove_cv_t<T>;
  if constexpr (!Encodable<T>) {
    std::abort();
  } else if constexpr (detail::kind_of<Value>() == detail::Kind::custom) {
    return detail::decode_custom<Value>(reader);
  } else {
    return detail::decode_value<Value>(reader);
  }
}

template <class... T>
OutputArchive& OutputArchive::operator()(const T&... values) {
  static_assert((!is_view_v<T> && ...), "a view would outlive the message it is decoded from: serialize what owns");
  (encode(writer_, values), ...);
  return *this;
}

template <class... T>
InputArchive& InputArchive::operator()(T&... values) {
  static_assert((!is_view_v<T> && ...), "a view would outlive the message it is decoded from: serialize what owns");
  (detail::decode_into(reader_, values), ...);
  return *this;
}

}  // namespace cofork::ipc
