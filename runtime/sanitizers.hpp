// Whether the code is compiled with a sanitizer, for the few places that must keep out of its way.
#pragma once

#if defined(__has_feature)
#define COFORK_HAS_FEATURE(name) __has_feature(name)
#else
#define COFORK_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_THREAD__) || COFORK_HAS_FEATURE(thread_sanitizer)
#define COFORK_THREAD_SANITIZER
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(COFORK_THREAD_SANITIZER) || COFORK_HAS_FEATURE(address_sanitizer) || \
    COFORK_HAS_FEATURE(memory_sanitizer)
/// A sanitizer that handles fatal signals, and looks into exceptions, itself.
#define COFORK_SANITIZED
#endif

#undef COFORK_HAS_FEATURE

namespace cofork::detail {

#ifdef COFORK_THREAD_SANITIZER
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif

}  // namespace cofork::detail
