// What one task may use of the machine: limits that the process that runs it sets for itself.
#pragma once

#include <chrono>
#include <cstddef>

namespace cofork::detail {

struct ResourceLimits {
  std::size_t memory = 0;      ///< Bytes that the task may take on top of what the process has; 0: no limit.
  std::chrono::seconds cpu{};  ///< Processor time of all its threads together; 0: no limit.

  bool any() const noexcept { return memory != 0 || cpu.count() != 0; }
};

/// Limits the calling process, for the rest of its life, counted from now. Beyond `memory` (private writable memory, as
/// RLIMIT_DATA counts it) allocations fail, in C++ with `std::bad_alloc`; at the end of `cpu` the process gets SIGXCPU,
/// which ends it, and a second later SIGKILL. Throws `std::system_error`.
void limit_resources(const ResourceLimits& limits);

/// After the call: a task that has used up its memory, and keeps it, leaves none to tell the error with. This allows
/// some mebibytes more, if there are such `limits`.
void allow_memory_for_error(const ResourceLimits& limits) noexcept;

}  // namespace cofork::detail
