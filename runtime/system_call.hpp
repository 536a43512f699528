// What every caller of the system does. Not for users.
#pragma once

#include <cerrno>
#include <cofork/runtime/descriptor.hpp>

namespace cofork::detail {

/// Throws `std::system_error` with the current errno: "operation subject: why".
[[noreturn]] void throw_errno(const char* operation, const char* subject);

/// Calls a system call again as long as a signal interrupts it.
template <class F>
auto retry_interrupted(F call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

/// Closes it, and gives the errno of that: it may be the first to tell that something was not written. The descriptor
/// is gone in any case.
int close_checked(Descriptor& descriptor) noexcept;

}  // namespace cofork::detail
