#pragma once

#include <cofork/runtime/sanitizers.hpp>
#include <cstdio>

namespace support {

using cofork::detail::address_sanitizer;
using cofork::detail::thread_sanitizer;

/// How much longer than usual everything may take here: limits are multiplied by it, loads may be divided by it.
inline constexpr int slowdown = address_sanitizer || thread_sanitizer ? 4 : 1;

/// For tests that leave no descriptor free: the undefined behaviour sanitizer takes some for its first look at an
/// object of each class, and reports the object where there are none. True, after saying so, if the test must be
/// skipped.
inline bool needs_free_descriptors() {
  if (address_sanitizer) std::puts("skipped: the sanitizer needs free descriptors of its own");
  return address_sanitizer;
}

/// For tests that fork while other threads allocate memory: g++'s address sanitizer does not lock its allocator for a
/// fork, so that a lock that another thread holds at that moment is locked for ever in the child. True, after saying
/// so, if the test must be skipped.
inline bool forks_with_locked_memory() {
#if defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
  std::puts("skipped: the sanitizer may leave a child that is forked beside threads without memory");
  return true;
#else
  return false;
#endif
}

}  // namespace support
