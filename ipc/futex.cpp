#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cofork/ipc/futex.hpp>
#include <system_error>

namespace cofork::ipc {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::optional<std::chrono::nanoseconds> timeout) {
  timespec limit{};
  if (timeout) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
    limit.tv_sec = seconds.count();
    limit.tv_nsec = (*timeout - seconds).count();
  }
  const long result = ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, timeout ? &limit : nullptr, nullptr, 0);
  if (result < 0 && errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT)
    throw std::system_error(errno, std::generic_category(), "futex wait");
}

void futex_wake(std::atomic<std::uint32_t>& word, int count) {
  if (::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0) < 0)
    throw std::system_error(errno, std::generic_category(), "futex wake");
}

}  // namespace cofork::ipc
