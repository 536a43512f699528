// Who a process is, told in shared memory so that a recycled pid is no mistake.
#pragma once

#include <sys/types.h>

#include <cofork/ipc/descriptor.hpp>
#include <cstdint>

namespace cofork::detail {

/// A process id and the time at which that process started, in clock ticks since boot: one word, never 0. It has a
/// meaning within one pid namespace.
using ProcessIdentity = std::uint64_t;

/// This process's. Throws std::system_error where there is no /proc.
ProcessIdentity own_identity();

/// A pidfd of `process`, readable when it has ended; none if it has ended and is reaped already. Throws
/// std::system_error.
ipc::Descriptor open_process(ProcessIdentity process);

/// Whether what the pidfd refers to has ended; true for none.
bool has_ended(const ipc::Descriptor& pidfd) noexcept;

}  // namespace cofork::detail
