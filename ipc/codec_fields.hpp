// The fields of an aggregate, found without a word from its author: counted by what braces accept, named by a
// structured binding. Internal.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <cofork/ipc/codec_bindings.hpp>

namespace cofork::detail {

/// The count of what cannot be taken apart: too many fields, a base class with members, something unusual.
inline constexpr std::size_t unknown_fields = static_cast<std::size_t>(-1);

/// Initialises anything that is not an array.
struct AnyField {
  template <class U>
  operator U() const noexcept;
};
/// Initialises a base class of T.
template <class T>
struct AnyBase {
  template <class B>
  requires(std::is_base_of_v<B, T> && !std::is_same_v<B, T>) operator B() const noexcept;
};
/// Initialises a base class of T that has no members.
template <class T>
struct AnyEmptyBase {
  template <class B>
  requires(std::is_base_of_v<B, T> && !std::is_same_v<B, T> && std::is_empty_v<B>) operator B() const noexcept;
};

/// At most `max_fields + 1`.
template <class T, std::size_t n = 0>
consteval std::size_t count_braces() {
  if constexpr (n > max_fields) {
    return n;
  } else if constexpr (takes_braces<T, n + 1>()) {
    return count_braces<T, n + 1>();
  } else {
    return n;
  }
}

template <class T, std::size_t... Before>
consteval bool takes_any(std::index_sequence<Before...>) {
  return requires { T{(void(Before), AnyField{})...}; };
}
template <class T, std::size_t... Before, std::size_t... After>
consteval bool takes_braces_at(std::index_sequence<Before...>, std::index_sequence<After...>) {
  return requires { T{(void(Before), AnyField{})..., {}, (void(After), AnyField{})...}; };
}

inline constexpr std::size_t max_expressions = 2 * max_fields;

/// The largest number of expressions that T can be made from; every element of an array counts.
template <class T, std::size_t n = max_expressions>
consteval std::size_t count_expressions() {
  if constexpr (n == 0 || takes_any<T>(std::make_index_sequence<n>{})) {
    return n;
  } else {
    return count_expressions<T, n - 1>();
  }
}

/// The number of fields from expression `first` of `total` on: empty braces there take the place of a whole field.
template <class T, std::size_t total, std::size_t first = 0, std::size_t length = 1>
consteval std::size_t count_grouped() {
  if constexpr (first >= total) {
    return 0;
  } else if constexpr (takes_braces_at<T>(std::make_index_sequence<first>{},
                                          std::make_index_sequence<total - first - length>{})) {
    return 1 + count_grouped<T, total, first + length>();
  } else if constexpr (first + length < total) {
    return count_grouped<T, total, first, length + 1>();
  } else {
    return 1 + count_grouped<T, total, first + 1>();  // not to be made from braces
  }
}

/// How many fields a structured binding of T has; `unknown_fields` if it cannot be told or cannot be bound.
template <class T>
consteval std::size_t count_fields() {
  if constexpr (!std::is_class_v<T> || !std::is_aggregate_v<T>) {
    return unknown_fields;
  } else if constexpr (std::is_empty_v<T>) {
    return 0;
  } else {
    constexpr bool has_base = takes_braces<T, 0, AnyBase<T>>() || takes_braces<T, 0, AnyBase<T>, AnyField>();
    constexpr bool simple_base = !has_base || takes_braces<T, 0, AnyEmptyBase<T>>();
    constexpr std::size_t braces = takes_braces<T, 0>() ? count_braces<T>() : 0;
    if constexpr (!simple_base || takes_braces<T, 0, AnyBase<T>, AnyBase<T>>() || braces > max_fields + has_base) {
      return unknown_fields;
    } else if constexpr (braces > 0 && !takes_braces<T, braces, AnyField>()) {
      return braces - has_base <= max_fields ? braces - has_base : unknown_fields;
    } else {
      // A field that braces cannot make: it has no default constructor.
      constexpr std::size_t expressions = count_expressions<T>();
      if constexpr (expressions == 0 || expressions == max_expressions) {
        return unknown_fields;
      } else {
        constexpr std::size_t fields = count_grouped<T, expressions>() - has_base;
        return fields <= max_fields ? fields : unknown_fields;
      }
    }
  }
}

}  // namespace cofork::detail
