#include <cerrno>
#include <cofork/runtime/sigpipe_guard.hpp>
#include <ctime>

namespace cofork::detail {

namespace {
sigset_t only_sigpipe() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}
}  // namespace

SigpipeGuard::SigpipeGuard() noexcept {
  const sigset_t set = only_sigpipe();
  ::pthread_sigmask(SIG_BLOCK, &set, &previous_);
  was_pending_ = false;
  if (sigismember(&previous_, SIGPIPE) != 1) return;
  sigset_t pending;
  was_pending_ = ::sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

SigpipeGuard::~SigpipeGuard() {
  const int error = errno;
  if (error == EPIPE && !was_pending_) {
    const sigset_t set = only_sigpipe();
    const timespec at_once = {};
    while (::sigtimedwait(&set, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  errno = error;
}

}  // namespace cofork::detail
