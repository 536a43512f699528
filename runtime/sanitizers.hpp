// Whether the code is compiled with a sanitizer, for the few places that must keep out of its way.
#pragma once

#if defined(__has_feature)
#define COFORK_HAS_FEATURE(name) __has_feature(name)
#else
#define COFORK_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || COFORK_HAS_FEATURE(address_sanitizer) || \
    COFORK_HAS_FEATURE(thread_sanitizer) || COFORK_HAS_FEATURE(memory_sanitizer)
/// A sanitizer that handles fatal signals, and looks into exceptions, itself.
#define COFORK_SANITIZED
#endif

namespace cofork::detail {

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

}  // namespace cofork::detail

#undef COFORK_HAS_FEATURE
