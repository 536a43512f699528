#include <cofork/executors/after_fork.hpp>
#include <cofork/runtime/loop.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <system_error>
#include <utility>
#include <vector>

#ifdef __GLIBC__
extern "C" int __cxa_at_quick_exit(void (*)(void*), void*);
#endif

namespace cofork::detail {
namespace {

void reset_signal_dispositions() noexcept {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int signo = 1; signo < NSIG; ++signo) {
    if (signo != SIGKILL && signo != SIGSTOP) ::sigaction(signo, &standard, nullptr);
  }
}

// For kernels and sandboxes without close_range.
void close_open_descriptors(const std::vector<int>& kept) noexcept {
  const auto close_foreign = [&](int descriptor) {
    if (!std::binary_search(kept.begin(), kept.end(), descriptor)) ::close(descriptor);
  };
  if (DIR* directory = ::opendir("/proc/self/fd")) {
    std::vector<int> open;
    while (const dirent* entry = ::readdir(directory)) {
      if (entry->d_name[0] != '.') open.push_back(std::atoi(entry->d_name));
    }
    ::closedir(directory);
    std::for_each(open.begin(), open.end(), close_foreign);
    return;
  }
  const int limit = static_cast<int>(std::min<long>(std::max<long>(::sysconf(_SC_OPEN_MAX), 1024), INT_MAX));
  for (int descriptor = 3; descriptor < limit; ++descriptor) close_foreign(descriptor);
}

bool is_open_in(pid_t process, int descriptor, const struct stat& file) noexcept {
  std::array<char, 48> path;
  std::snprintf(path.data(), path.size(), "/proc/%d/fd/%d", static_cast<int>(process), descriptor);
  struct stat other = {};
  return ::stat(path.data(), &other) == 0 && other.st_dev == file.st_dev && other.st_ino == file.st_ino;
}

// libuv makes a pipe for its signal lock anew in each forked child, with one byte in it. It must stay open: libuv uses
// it, and in the next fork it closes the two numbers, whatever these are by then.
bool is_signal_lock_of_libuv(int descriptor, pid_t parent) noexcept {
  struct stat file = {};
  if (::fstat(descriptor, &file) < 0 || !S_ISFIFO(file.st_mode)) return false;
  int waiting = 0;
  if (::ioctl(descriptor, FIONREAD, &waiting) < 0 || waiting != 1) return false;
  if ((::fcntl(descriptor, F_GETFL) & O_NONBLOCK) != 0 || ::fcntl(descriptor, F_GETFD) != FD_CLOEXEC) return false;
  return !is_open_in(parent, descriptor, file);
}

void close_descriptors_except(std::span<const int> descriptors, pid_t parent) noexcept {
  std::vector<int> kept = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  kept.insert(kept.end(), descriptors.begin(), descriptors.end());
  std::sort(kept.begin(), kept.end());

  // The pipe took the lowest numbers that were free.
  const int free = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const std::size_t given = kept.size();
  for (int descriptor = STDERR_FILENO + 1; descriptor < free; ++descriptor) {
    if (std::binary_search(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(given), descriptor)) continue;
    if (is_signal_lock_of_libuv(descriptor, parent)) kept.push_back(descriptor);
  }
  std::sort(kept.begin(), kept.end());

  unsigned first = 0;
  const auto close_up_to = [&](unsigned last) { return ::syscall(SYS_close_range, first, last, 0) == 0; };
  for (const int descriptor : kept) {
    const auto next = static_cast<unsigned>(descriptor);
    if (next > first && !close_up_to(next - 1)) return close_open_descriptors(kept);
    first = next + 1;
  }
  if (!close_up_to(UINT_MAX)) close_open_descriptors(kept);
}

void read_nothing_from_stdin() noexcept {
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null <= STDIN_FILENO) return;
  ::dup2(null, STDIN_FILENO);
  ::close(null);
}

#ifdef __GLIBC__
void leave_on_exit(int status, void*) { leave(status); }
// glibc passes the status to these handlers too, as it does to those of __cxa_atexit.
void leave_on_quick_exit(void*, int status) { leave(status); }
#else
void leave_on_exit() { leave(EXIT_FAILURE); }
#endif

}  // namespace

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  ::sigfillset(&all);
  if (const int error = ::pthread_sigmask(SIG_SETMASK, &all, &previous_); error != 0) {
    throw std::system_error(error, std::generic_category(), "pthread_sigmask");
  }
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

StandardDescriptorsOpen::StandardDescriptorsOpen() {
  for (ipc::Descriptor& held : held_) {
    ipc::Descriptor opened(::open("/dev/null", O_RDWR));
    if (!opened.valid()) throw std::system_error(errno, std::generic_category(), "open /dev/null");
    if (opened.get() > STDERR_FILENO) return;
    held = std::move(opened);
  }
}

void flush_standard_streams() noexcept {
  try {
    std::cout.flush();
    std::clog.flush();
  } catch (...) {
    // A stream set to throw: its text is lost as it would be at the end of main.
  }
  std::fflush(nullptr);
}

void enter_child(const ChildOptions& options) noexcept {
  forget_loop();
  reset_signal_dispositions();
  if (options.own_group) ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, options.death_signal);
  if (::getppid() != options.parent) ::_exit(EXIT_FAILURE);
  close_descriptors_except(options.descriptors, options.parent);
  if (options.null_stdin) read_nothing_from_stdin();
}

void unblock_signals() noexcept {
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

void isolate_exit() noexcept {
#ifdef __GLIBC__
  ::on_exit(leave_on_exit, nullptr);
  const auto handler = reinterpret_cast<void (*)()>(leave_on_quick_exit);
  __cxa_at_quick_exit(reinterpret_cast<void (*)(void*)>(handler), nullptr);
#else
  std::atexit(leave_on_exit);
  std::at_quick_exit(leave_on_exit);
#endif
}

void leave(int status) noexcept {
  flush_standard_streams();
  ::_exit(status);
}

}  // namespace cofork::detail
