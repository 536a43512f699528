// What a worker that is ended by a fatal signal leaves in the memory that it shares with its parent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cofork::ipc {

/// Written by a signal handler, read by the parent after the worker's end. All zero if it has not crashed.
struct CrashRecord {
  static constexpr std::size_t most_frames = 48;

  volatile std::uint32_t signal;
  volatile std::uint32_t frames;
  volatile std::int32_t code;      ///< `si_code`
  volatile std::uint64_t address;  ///< `si_addr`
  volatile std::uint64_t stack_pointer;
  std::array<std::uintptr_t, most_frames> stack;
};

}  // namespace cofork::ipc
