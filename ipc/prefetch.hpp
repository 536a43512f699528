// Asks for a cache line before it is written.
#pragma once

namespace cofork::ipc {

/// `address` is written soon: its cache line comes from the core that used it last while this one does something else,
/// instead of at the next barrier. Changes nothing, and may be any address.
inline void prefetch_to_write(const void* address) noexcept {
#if defined(__x86_64__)
  // What the builtin gives for every x86-64 processor asks for a copy to read only.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address, 1);
#endif
}

}  // namespace cofork::ipc
