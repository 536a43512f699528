#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/ipc/process_identity.hpp>
#include <cofork/runtime/handle.hpp>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace cofork::detail {

namespace {
constexpr unsigned pid_bits = 22;  // PID_MAX_LIMIT

/// 0 if there is no such process, or /proc hides it.
ProcessIdentity identity_of(pid_t pid) {
  std::array<char, 64> path;
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", static_cast<int>(pid));
  const ipc::Descriptor file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ESRCH) return 0;
    throw std::system_error(errno, std::generic_category(), path.data());
  }
  std::array<char, 1024> text;
  const ssize_t n = ::read(file.get(), text.data(), text.size() - 1);
  if (n < 0 && errno != ESRCH) throw std::system_error(errno, std::generic_category(), path.data());
  if (n <= 0) return 0;
  text[static_cast<std::size_t>(n)] = '\0';
  // Field 22, counted from 3 behind the name, which may contain anything.
  const std::string_view line(text.data(), static_cast<std::size_t>(n));
  std::size_t at = line.rfind(')');
  for (int field = 2; field < 22 && at != std::string_view::npos; ++field) at = line.find(' ', at + 1);
  if (at == std::string_view::npos) throw std::system_error(EPROTO, std::generic_category(), path.data());
  const ProcessIdentity started = std::strtoull(text.data() + at + 1, nullptr, 10);
  return started << pid_bits | static_cast<ProcessIdentity>(pid);
}
}  // namespace

ProcessIdentity own_identity() {
  thread_local ProcessIdentity identity = 0;
  thread_local unsigned generation = 0;
  if (identity == 0 || generation != fork_generation()) {
    identity = identity_of(::getpid());
    generation = fork_generation();
    if (identity == 0) throw std::system_error(ENOENT, std::generic_category(), "/proc/self/stat");
  }
  return identity;
}

ipc::Descriptor open_process(ProcessIdentity process) {
  const auto pid = static_cast<pid_t>(process & ((ProcessIdentity{1} << pid_bits) - 1));
  ipc::Descriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    // The pid may be that of a thread now: EINVAL, of newer kernels ENOENT.
    if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return {};
    throw std::system_error(errno, std::generic_category(), "pidfd_open");
  }
  // The pid may have been given to another process before it was opened. Of one that is hidden the pidfd tells whether
  // it has ended.
  if (const ProcessIdentity there = identity_of(pid); there != 0 && there != process) return {};
  return pidfd;
}

bool has_ended(const ipc::Descriptor& pidfd) noexcept {
  if (!pidfd.valid()) return true;
  pollfd watched = {pidfd.get(), POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1;
}

}  // namespace cofork::detail
