#pragma once

#include <cstdio>

#if defined(__has_feature)
#define COFORK_HAS_FEATURE(name) __has_feature(name)
#else
#define COFORK_HAS_FEATURE(name) 0
#endif

namespace support {

#if defined(__SANITIZE_ADDRESS__) || COFORK_HAS_FEATURE(address_sanitizer)
inline constexpr bool address_sanitizer = true;
#else
inline constexpr bool address_sanitizer = false;
#endif

#if defined(__SANITIZE_THREAD__) || COFORK_HAS_FEATURE(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif

/// How much longer than usual everything may take here: limits are multiplied by it, loads may be divided by it.
inline constexpr int slowdown = address_sanitizer || thread_sanitizer ? 4 : 1;

/// For tests that leave no descriptor free: the undefined behaviour sanitizer takes some for its first look at an
/// object of each class, and reports the object where there are none. True, after saying so, if the test must be
/// skipped.
inline bool needs_free_descriptors() {
  if (address_sanitizer) std::puts("skipped: the sanitizer needs free descriptors of its own");
  return address_sanitizer;
}

}  // namespace support

#undef COFORK_HAS_FEATURE
