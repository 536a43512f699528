// Stacks as lists of addresses, taken where they are and turned into names later, by any fork of the same program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace cofork::detail {

/// As many frames are kept, from the innermost on.
inline constexpr std::size_t max_stack_frames = 48;

/// Where a stack trace begins and ends.
struct StackRange {
  /// The innermost frame of interest, by its return address; null: the one that a signal interrupted.
  const void* first = nullptr;
  /// The frame that this lies in, and those that called it, are left out; null: none.
  const void* end = nullptr;
};

/// Writes the addresses of the calling thread's frames, one after the other, and after each how many there are, so
/// that what was found stays if the unwinder fails on a broken stack. A frame's address is that of an instruction that
/// belongs to its call. Allocates nothing and takes no lock of its own; safe in a signal handler with glibc >= 2.35.
std::uintptr_t capture_stack(std::span<std::uintptr_t> addresses, volatile std::uint32_t& count,
                             const StackRange& range) noexcept;

/// A line for each frame: "  #0 parse(int) +0x1c (program+0x4f3c)". The name of a function comes from the module's own
/// symbol table, of which a stripped module has only the exported part; without one the line has the place in the
/// module, as `addr2line -e module` takes it. Addresses that belong to no module of this process stay numbers.
std::string describe_stack(std::span<const std::uintptr_t> addresses);

}  // namespace cofork::detail
