// What can be encoded, and how: the compile-time half of the codec.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <ranges>
#include <system_error>
#include <type_traits>
#include <typeindex>

#include <cofork/ipc/codec_archive.hpp>
#include <cofork/ipc/codec_fields.hpp>
#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>

namespace cofork {

/// The customisation point: how a T travels. Specialise it, for one type or for a template, with
///
///     template <> struct cofork::Codec<Matrix> {
///       static void encode(cofork::ipc::Writer& writer, const Matrix& value);
///       static Matrix decode(cofork::ipc::Reader& reader);   // reads what encode wrote; DecodeError if it cannot
///     };
///
/// Encode parts with `ipc::encode(writer, part)` and decode them with `ipc::decode<Part>(reader)`. Check every length
/// with `Reader::size` before allocating. A codec of a template may say `using parts = cofork::ipc::Types<Part...>`:
/// then it exists only where its parts have one. One whose result points into the message says
/// `static constexpr bool is_view = true`. Only the library specialises it for types that are not the program's.
template <class T>
struct Codec;

namespace ipc {
template <class... T>
struct Types {};
}  // namespace ipc

namespace detail {

using ipc::Types;

enum class Kind { none, custom, serialize, scalar, array, aggregate, plain };

/// Base of the library's own codecs, which guard their own nesting and always write something.
struct OwnCodecBase {};
template <class... Part>
struct OwnCodec : OwnCodecBase {
  using parts = Types<Part...>;
};

/// Trivially copyable, and yet worthless in another process.
template <class T>
inline constexpr bool holds_address =
    std::input_or_output_iterator<T> || std::ranges::view<T> || std::derived_from<T, std::error_category>;
template <class T>
inline constexpr bool holds_address<std::reference_wrapper<T>> = true;
template <class T>
inline constexpr bool holds_address<std::coroutine_handle<T>> = true;
template <class T>
inline constexpr bool holds_address<std::initializer_list<T>> = true;
template <>
inline constexpr bool holds_address<std::error_code> = true;
template <>
inline constexpr bool holds_address<std::error_condition> = true;
template <>
inline constexpr bool holds_address<std::type_index> = true;

template <class T>
consteval Kind kind_of() {
  if constexpr (!std::is_object_v<T>) {
    return Kind::none;
  } else if constexpr (requires { sizeof(Codec<T>); }) {
    return Kind::custom;
  } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    return Kind::scalar;
  } else if constexpr (std::is_bounded_array_v<T>) {
    return Kind::array;
  } else if constexpr (!std::is_class_v<T> && !std::is_union_v<T>) {
    return Kind::none;
  } else if constexpr (has_serialize<T>) {
    return Kind::serialize;
  } else if constexpr (std::is_aggregate_v<T> && !std::is_union_v<T>) {
    return count_fields<T>() == unknown_fields ? Kind::none : Kind::aggregate;
  } else if constexpr (holds_address<T>) {
    return Kind::none;
  } else {
    // A class that cannot be assigned is a closure or holds a reference.
    return std::is_trivially_copyable_v<T> && std::is_copy_assignable_v<T> ? Kind::plain : Kind::none;
  }
}

/// The declared types of an aggregate's fields, without cv; a reference member stays a reference.
template <class T>
using fields_of =
    decltype(with_fields<count_fields<T>()>(std::declval<const T&>(), []<class... Declared>(const auto&...) {
      return Types<std::remove_cv_t<Declared>...>{};
    }));

/// For a type that is good.
struct Nothing {};

/// The first type without a codec that is met inside a type, and whether something in it is a view.
template <class Culprit, bool view>
struct Verdict {
  static constexpr bool good = std::is_same_v<Culprit, Nothing>;
  static constexpr bool is_view = view;
  using culprit = Culprit;
};

template <class T, class... Within>
consteval auto inspect();

template <bool view, class... Within>
consteval auto inspect_all(Types<>, Types<Within...>) {
  return Verdict<Nothing, view>{};
}
template <bool view, class First, class... Rest, class... Within>
consteval auto inspect_all(Types<First, Rest...>, Types<Within...> within) {
  using Verdict = decltype(inspect<First, Within...>());
  constexpr bool any_view = view || Verdict::is_view;
  if constexpr (Verdict::good) {
    return inspect_all<any_view>(Types<Rest...>{}, within);
  } else {
    return Verdict{};
  }
}

/// `Within` are the types whose fields are being looked at: a type may hold itself, behind a pointer or a container.
template <class T, class... Within>
consteval auto inspect() {
  constexpr Kind kind = kind_of<T>();
  if constexpr (kind == Kind::none) {
    return Verdict<T, false>{};
  } else if constexpr ((std::is_same_v<T, Within> || ...)) {
    return Verdict<Nothing, false>{};
  } else if constexpr (kind == Kind::array) {
    return inspect<std::remove_cv_t<std::remove_extent_t<T>>, Within...>();
  } else if constexpr (kind == Kind::aggregate) {
    return inspect_all<false>(fields_of<T>{}, Types<T, Within...>{});
  } else {
    constexpr bool view = requires { requires Codec<T>::is_view; };
    if constexpr (requires { typename Codec<T>::parts; }) {
      return inspect_all<view>(typename Codec<T>::parts{}, Types<Within...>{});
    } else {
      return Verdict<Nothing, view>{};
    }
  }
}

template <class T>
using verdict = decltype(inspect<std::remove_cv_t<T>>());

template <class T>
inline constexpr bool is_boolean = std::is_same_v<T, bool>;
template <class T>
requires std::is_enum_v<T>
inline constexpr bool is_boolean<T> = std::is_same_v<std::underlying_type_t<T>, bool>;

/// Whether a T is the bytes it occupies: none of them padding, and each pattern of them a value.
template <class T>
consteval bool is_bytes();

template <class... T>
consteval bool are_all_bytes(Types<T...>, std::size_t size) {
  return (is_bytes<T>() && ...) && (sizeof(T) + ... + 0) == size;
}

template <class T>
consteval bool is_bytes() {
  constexpr Kind kind = kind_of<T>();
  if constexpr (kind == Kind::scalar) {
    return !is_boolean<T>;
  } else if constexpr (kind == Kind::plain) {
    return true;
  } else if constexpr (kind == Kind::array) {
    return is_bytes<std::remove_cv_t<std::remove_extent_t<T>>>();
  } else if constexpr (kind == Kind::aggregate && std::is_trivially_copyable_v<T> && !std::is_empty_v<T>) {
    return are_all_bytes(fields_of<T>{}, sizeof(T));
  } else {
    return requires { requires Codec<T>::is_bytes; };
  }
}

/// Whether a T can be read where its bytes lie: all of it is trivially copyable and means what its bytes say.
template <class T>
consteval bool is_raw();

template <class... T>
consteval bool are_all_raw(Types<T...>) {
  return (is_raw<T>() && ...);
}

template <class T>
consteval bool is_raw() {
  constexpr Kind kind = kind_of<T>();
  if constexpr (kind == Kind::array) {
    return is_raw<std::remove_cv_t<std::remove_extent_t<T>>>();
  } else if constexpr (!std::is_trivially_copyable_v<T>) {
    return false;
  } else if constexpr (kind == Kind::aggregate) {
    return are_all_raw(fields_of<T>{});
  } else if constexpr (kind == Kind::custom) {
    if constexpr (std::is_base_of_v<OwnCodecBase, Codec<T>> && !requires { Codec<T>::is_view; }) {
      return are_all_raw(typename Codec<T>::parts{});
    } else {
      return false;
    }
  } else {
    return kind == Kind::scalar || kind == Kind::plain;
  }
}

/// The least number of bytes that a T is encoded to: 1 or more, so that a count can be checked against what is there.
template <class T>
consteval std::size_t min_size();

template <class... T>
consteval std::size_t min_size_of_all(Types<T...>) {
  const std::size_t sum = (min_size<T>() + ... + 0);
  return sum == 0 ? 1 : sum;
}

template <class T>
consteval std::size_t min_size() {
  constexpr Kind kind = kind_of<T>();
  if constexpr (is_bytes<T>() || kind == Kind::scalar) {
    return sizeof(T);
  } else if constexpr (kind == Kind::array) {
    return std::extent_v<T> * min_size<std::remove_cv_t<std::remove_extent_t<T>>>();
  } else if constexpr (kind == Kind::aggregate) {
    return min_size_of_all(fields_of<T>{});
  } else if constexpr (requires { Codec<T>::min_size; }) {
    return Codec<T>::min_size;
  } else {
    return 1;
  }
}

/// False for a type without a codec; named so that the compiler's message shows the type.
template <class Type>
inline constexpr bool has_codec = false;
template <>
inline constexpr bool has_codec<Nothing> = true;

/// The one place where the compiler says that a type cannot travel: the type itself, or the first such inside it.
template <class T>
consteval void require_codec() {
  static_assert(has_codec<typename verdict<T>::culprit>,
                "this type cannot travel between processes: it has no codec. Ways out: make it an aggregate of types "
                "that have one (up to 32 fields, no base class with members); give it `template <class Archive> void "
                "serialize(Archive& ar) { ar(a, b, c); }`, as a member or a free function; or specialise "
                "cofork::Codec<T>. Pointers, references and callables cannot travel at all: send the value itself. A "
                "span must be one of const, trivially copyable elements without a codec of their own.");
}

}  // namespace detail

/// A type that can be encoded and decoded, as an argument, a result or an element of a channel.
template <class T>
concept Encodable = detail::verdict<T>::good;

namespace ipc {

/// Whether a decoded T points into the message it came from (`std::span<const U>`, `std::string_view`, or something
/// that holds one): right for a parameter, which the message outlives, and for nothing else.
template <class T>
inline constexpr bool is_view_v = detail::verdict<T>::is_view;

}  // namespace ipc
}  // namespace cofork
