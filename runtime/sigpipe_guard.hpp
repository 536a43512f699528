// Writing to a pipe that nobody reads: an error, not a signal.
#pragma once

#include <csignal>

namespace cofork::detail {

/// Keeps this thread from getting a SIGPIPE of its own making while it lives. Only sockets can be told so by a flag.
class SigpipeGuard {
 public:
  SigpipeGuard() noexcept;
  SigpipeGuard(const SigpipeGuard&) = delete;
  SigpipeGuard& operator=(const SigpipeGuard&) = delete;
  /// Keeps errno.
  ~SigpipeGuard();

 private:
  sigset_t previous_;
  bool was_pending_;
};

}  // namespace cofork::detail
