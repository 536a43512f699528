#include <cofork/executors/after_fork.hpp>
#include <cofork/runtime/loop.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
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
#include <typeinfo>
#include <utility>
#include <vector>

#ifdef __GLIBCXX__
#include <ext/stdio_sync_filebuf.h>
#endif

#ifdef __GLIBC__
extern "C" int __cxa_at_quick_exit(void (*)(void*), void*);
extern "C" int __cxa_atexit(void (*)(void*), void*, void*);
extern "C" void __cxa_finalize(void*);
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

// Not by readdir, which allocates a large buffer each time.
std::vector<int> open_descriptors() {
  std::vector<int> open;
  const ipc::Descriptor directory(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  alignas(dirent64) std::array<char, 2048> entries;
  ssize_t size = directory.valid() ? ::getdents64(directory.get(), entries.data(), entries.size()) : -1;
  for (; size > 0; size = ::getdents64(directory.get(), entries.data(), entries.size())) {
    for (ssize_t offset = 0; offset < size;) {
      const auto* const entry = reinterpret_cast<const dirent64*>(entries.data() + offset);
      const int descriptor = std::atoi(entry->d_name);
      if (entry->d_name[0] != '.' && descriptor != directory.get()) open.push_back(descriptor);
      offset += entry->d_reclen;
    }
  }
  if (size == 0) return open;

  // Without /proc.
  open.clear();
  const int limit = static_cast<int>(std::min<long>(std::max<long>(::sysconf(_SC_OPEN_MAX), 1024), INT_MAX));
  for (int descriptor = 0; descriptor < limit; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) >= 0 && descriptor != directory.get()) open.push_back(descriptor);
  }
  return open;
}

// For kernels and sandboxes without close_range.
void close_open_descriptors(std::span<const int> given, std::span<const int> locks) noexcept {
  for (const int descriptor : open_descriptors()) {
    const bool is_given = std::binary_search(given.begin(), given.end(), descriptor);
    const bool is_lock = std::binary_search(locks.begin(), locks.end(), descriptor);
    if (descriptor > STDERR_FILENO && !is_given && !is_lock) ::close(descriptor);
  }
}

// Whether the descriptor is what it was before the fork.
bool is_inherited(int descriptor, pid_t parent) noexcept {
  const long order = ::syscall(SYS_kcmp, parent, ::getpid(), KCMP_FILE, descriptor, descriptor);
  if (order >= 0) return order == 0;
  // Kernels and sandboxes without kcmp.
  std::array<char, 48> path;
  std::snprintf(path.data(), path.size(), "/proc/%d/fd/%d", static_cast<int>(parent), descriptor);
  struct stat here = {};
  struct stat there = {};
  return ::fstat(descriptor, &here) == 0 && ::stat(path.data(), &there) == 0 && here.st_dev == there.st_dev &&
         here.st_ino == there.st_ino;
}

// libuv makes a pipe for its signal lock anew in each forked child, with one byte in it. It must stay open: libuv uses
// it, and in the next fork it closes the two numbers, whatever these are by then.
bool is_signal_lock_of_libuv(int descriptor, pid_t parent) noexcept {
  if (::fcntl(descriptor, F_GETPIPE_SZ) < 0) return false;  // no pipe
  int waiting = 0;
  if (::ioctl(descriptor, FIONREAD, &waiting) < 0 || waiting != 1) return false;
  if ((::fcntl(descriptor, F_GETFL) & O_NONBLOCK) != 0 || ::fcntl(descriptor, F_GETFD) != FD_CLOEXEC) return false;
  return !is_inherited(descriptor, parent);
}

// Allocates nothing if they come in order: every page that a child writes to is copied.
void close_descriptors_except(std::span<const int> descriptors, pid_t parent) noexcept {
  std::vector<int> ordered;
  if (!std::is_sorted(descriptors.begin(), descriptors.end())) {
    ordered.assign(descriptors.begin(), descriptors.end());
    std::sort(ordered.begin(), ordered.end());
    descriptors = ordered;
  }

  // The pipe took the lowest numbers that were free.
  std::array<int, 4> locks = {};
  std::size_t lock_count = 0;
  const int free = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  for (int descriptor = STDERR_FILENO + 1; descriptor < free && lock_count < locks.size(); ++descriptor) {
    if (std::binary_search(descriptors.begin(), descriptors.end(), descriptor)) continue;
    if (is_signal_lock_of_libuv(descriptor, parent)) locks[lock_count++] = descriptor;
  }
  const std::span<const int> kept_locks = std::span(locks).first(lock_count);

  unsigned first = STDERR_FILENO + 1;
  const auto close_up_to = [&](unsigned last) { return ::syscall(SYS_close_range, first, last, 0) == 0; };
  auto given = descriptors.begin();
  auto lock = kept_locks.begin();
  while (given != descriptors.end() || lock != kept_locks.end()) {
    const bool is_lock = given == descriptors.end() || (lock != kept_locks.end() && *lock < *given);
    const auto next = static_cast<unsigned>(is_lock ? *lock++ : *given++);
    if (next < first) continue;
    if (next > first && !close_up_to(next - 1)) return close_open_descriptors(descriptors, kept_locks);
    first = next + 1;
  }
  if (!close_up_to(UINT_MAX)) close_open_descriptors(descriptors, kept_locks);
}

void read_nothing_from_stdin(int null_device) noexcept {
  const int null = null_device >= 0 ? null_device : ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null <= STDIN_FILENO) return;
  ::dup2(null, STDIN_FILENO);
  if (null_device < 0) ::close(null);
}

// As long as it is synchronised with stdio, a standard stream has nothing of its own to flush. In a fresh child to find
// that out takes a microsecond, to flush it twenty.
void flush_unless_unbuffered(std::ostream& stream) {
#ifdef __GLIBCXX__
  if (const std::streambuf* const buffer = stream.rdbuf())
    if (typeid(*buffer) == typeid(__gnu_cxx::stdio_sync_filebuf<char>)) return;
#endif
  stream.flush();
}

#ifdef __GLIBC__
int status_of_end = 0;
// __cxa_finalize runs handlers, the latest first, but not those of on_exit: it stops here, before those of the parent.
void leave_at_end(void*) { leave(status_of_end); }
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
  for (ipc::Descriptor& opened : opened_) {
    opened.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!opened.valid()) throw std::system_error(errno, std::generic_category(), "open /dev/null");
    null_device_ = opened.get();
    if (null_device_ > STDERR_FILENO) return;
    ::fcntl(null_device_, F_SETFD, 0);
  }
}

void flush_standard_streams() noexcept {
  try {
    flush_unless_unbuffered(std::cout);
    flush_unless_unbuffered(std::clog);
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
  if (options.null_stdin) read_nothing_from_stdin(options.null_device);
  close_descriptors_except(options.descriptors, options.parent);
}

std::vector<int> inheritable_descriptors() {
  std::vector<int> descriptors = open_descriptors();
  std::erase_if(descriptors,
                [](int descriptor) { return descriptor <= STDERR_FILENO || ::fcntl(descriptor, F_GETFD) != 0; });
  return descriptors;
}

void close_replaced(std::span<const int> inheritable, pid_t parent) noexcept {
  for (const int descriptor : inheritable) {
    const int flags = ::fcntl(descriptor, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) != 0 && !is_signal_lock_of_libuv(descriptor, parent)) ::close(descriptor);
  }
}

void unblock_signals() noexcept {
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

void isolate_exit() noexcept {
#ifdef __GLIBC__
  const auto handler = reinterpret_cast<void (*)()>(leave_on_quick_exit);
  const bool isolated = __cxa_atexit(leave_at_end, nullptr, nullptr) == 0 && ::on_exit(leave_on_exit, nullptr) == 0 &&
                        __cxa_at_quick_exit(reinterpret_cast<void (*)(void*)>(handler), nullptr) == 0;
#else
  const bool isolated = std::atexit(leave_on_exit) == 0 && std::at_quick_exit(leave_on_exit) == 0;
#endif
  if (!isolated) leave(EXIT_FAILURE);  // without memory for them; else the parent's would run here
}

void end_child(int status) noexcept {
#ifdef __GLIBC__
  status_of_end = status;
  __cxa_finalize(nullptr);
#endif
  leave(status);
}

void leave(int status) noexcept {
  flush_standard_streams();
  ::_exit(status);
}

}  // namespace cofork::detail
