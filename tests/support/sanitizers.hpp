#pragma once

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

}  // namespace support

#undef COFORK_HAS_FEATURE
