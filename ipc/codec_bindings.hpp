// The two tables, one row per number of fields, that the language has no pack for. Internal.
#pragma once

#include <cstddef>

namespace cofork::detail {

inline constexpr std::size_t max_fields = 32;

// clang-format off

/// Whether T can be made from n empty braces and then `Then...`, for n up to `max_fields + 1`. An array takes one pair of
/// braces, where expressions would be spread over its elements.
template <class T, std::size_t n, class... Then>
consteval bool takes_braces() {
  if constexpr (n == 0) return requires { T{Then{}...}; };
  if constexpr (n == 1) return requires { T{{}, Then{}...}; };
  if constexpr (n == 2) return requires { T{{}, {}, Then{}...}; };
  if constexpr (n == 3) return requires { T{{}, {}, {}, Then{}...}; };
  if constexpr (n == 4) return requires { T{{}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 5) return requires { T{{}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 6) return requires { T{{}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 7) return requires { T{{}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 8) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 9) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 10) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 11) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 12) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 13) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 14) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 15) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 16) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 17) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 18) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 19) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 20) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 21) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 22) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 23) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 24) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 25) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 26) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 27) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 28) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 29) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 30) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 31) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 32) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
  if constexpr (n == 33) return requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Then{}...}; };
}

/// Calls `visit.template operator()<Declared...>(fields...)` with the N fields of `object` and their declared types.
template <std::size_t N, class T, class Visit>
constexpr decltype(auto) with_fields(T& object, Visit&& visit) {
  if constexpr (N == 0) {
    return visit.template operator()<>();
  } else if constexpr (N == 1) {
    auto& [a0] = object;
    return visit.template operator()<decltype(a0)>(
        a0);
  } else if constexpr (N == 2) {
    auto& [a0, a1] = object;
    return visit.template operator()<decltype(a0), decltype(a1)>(
        a0, a1);
  } else if constexpr (N == 3) {
    auto& [a0, a1, a2] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2)>(
        a0, a1, a2);
  } else if constexpr (N == 4) {
    auto& [a0, a1, a2, a3] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3)>(
        a0, a1, a2, a3);
  } else if constexpr (N == 5) {
    auto& [a0, a1, a2, a3, a4] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4)>(
        a0, a1, a2, a3, a4);
  } else if constexpr (N == 6) {
    auto& [a0, a1, a2, a3, a4, a5] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4), decltype(a5)>(
        a0, a1, a2, a3, a4, a5);
  } else if constexpr (N == 7) {
    auto& [a0, a1, a2, a3, a4, a5, a6] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6)>(
        a0, a1, a2, a3, a4, a5, a6);
  } else if constexpr (N == 8) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7)>(
        a0, a1, a2, a3, a4, a5, a6, a7);
  } else if constexpr (N == 9) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8);
  } else if constexpr (N == 10) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9);
  } else if constexpr (N == 11) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10);
  } else if constexpr (N == 12) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11);
  } else if constexpr (N == 13) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12);
  } else if constexpr (N == 14) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13);
  } else if constexpr (N == 15) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14);
  } else if constexpr (N == 16) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15);
  } else if constexpr (N == 17) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16);
  } else if constexpr (N == 18) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17);
  } else if constexpr (N == 19) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18);
  } else if constexpr (N == 20) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19);
  } else if constexpr (N == 21) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20);
  } else if constexpr (N == 22) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21);
  } else if constexpr (N == 23) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22);
  } else if constexpr (N == 24) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23);
  } else if constexpr (N == 25) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24);
  } else if constexpr (N == 26) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24, a25] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24, a25);
  } else if constexpr (N == 27) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24, a25, a26] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25),
        decltype(a26)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24, a25, a26);
  } else if constexpr (N == 28) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24, a25, a26, a27] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25),
        decltype(a26), decltype(a27)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24, a25, a26, a27);
  } else if constexpr (N == 29) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24, a25, a26, a27, a28] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25),
        decltype(a26), decltype(a27), decltype(a28)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24, a25, a26, a27, a28);
  } else if constexpr (N == 30) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24, a25, a26, a27, a28, a29] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25),
        decltype(a26), decltype(a27), decltype(a28), decltype(a29)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24, a25, a26, a27, a28, a29);
  } else if constexpr (N == 31) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24, a25, a26, a27, a28, a29, a30] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25),
        decltype(a26), decltype(a27), decltype(a28), decltype(a29), decltype(a30)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24, a25, a26, a27, a28, a29, a30);
  } else if constexpr (N == 32) {
    auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
           a23, a24, a25, a26, a27, a28, a29, a30, a31] = object;
    return visit.template operator()<decltype(a0), decltype(a1), decltype(a2), decltype(a3), decltype(a4),
        decltype(a5), decltype(a6), decltype(a7), decltype(a8), decltype(a9), decltype(a10), decltype(a11),
        decltype(a12), decltype(a13), decltype(a14), decltype(a15), decltype(a16), decltype(a17), decltype(a18),
        decltype(a19), decltype(a20), decltype(a21), decltype(a22), decltype(a23), decltype(a24), decltype(a25),
        decltype(a26), decltype(a27), decltype(a28), decltype(a29), decltype(a30), decltype(a31)>(
        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23,
        a24, a25, a26, a27, a28, a29, a30, a31);
  }
}

// clang-format on

}  // namespace cofork::detail
