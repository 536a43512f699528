// What every forked child of the library does before anything else, and how it ends.
#pragma once

#include <sys/types.h>

#include <array>
#include <cofork/ipc/descriptor.hpp>
#include <csignal>
#include <span>
#include <vector>

namespace cofork::detail {

/// Blocks every signal of the calling thread while it lives: put it around a fork, so that no handler of the parent
/// runs in the child before `enter_child` has removed them.
class SignalsBlocked {
 public:
  SignalsBlocked();  ///< Throws std::system_error.
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t previous_;
};

/// Where the process has closed standard descriptors, keeps /dev/null in their places while it lives: put it around a
/// fork, too, for libuv opens descriptors of its own in the child and aborts later if they get such a number.
class StandardDescriptorsOpen {
 public:
  StandardDescriptorsOpen();  ///< Throws std::system_error.
  /// It is open in any case.
  int null_device() const noexcept { return null_device_; }

 private:
  std::array<ipc::Descriptor, 4> opened_;
  int null_device_ = -1;
};

/// Flushes C and C++ standard streams: before a fork, so that nothing is written twice, and before `_exit`.
void flush_standard_streams() noexcept;

struct ChildOptions {
  pid_t parent;                      ///< The process that called fork, as its getpid() told before.
  int death_signal = SIGKILL;        ///< Sent to the child when the thread that forked it ends; 0: none.
  std::span<const int> descriptors;  ///< Kept beside 0, 1, 2 and those that libuv opened in the child; best in order.
  bool own_group = true;             ///< Becomes the leader of a new process group.
  bool null_stdin = true;            ///< Standard input becomes /dev/null.
  int null_device = -1;              ///< /dev/null, if it is open; saves opening it for that.
};

/// Makes a fresh process of a forked child: forgets the parent's loop, sets every signal to its default (SIGPIPE too: a
/// worker whose standard output is gone ends like any program; descriptors of the library are written with
/// MSG_NOSIGNAL), joins its own group, closes foreign descriptors, and ends at once if the parent is already gone.
/// Standard descriptors that the parent had closed become /dev/null. Signals stay blocked: call `unblock_signals` when
/// ready for them.
void enter_child(const ChildOptions& options) noexcept;

/// The descriptors above 2 that a program started by exec would inherit: those without close-on-exec, which the library
/// and libuv always set. Throws std::bad_alloc.
std::vector<int> inheritable_descriptors();

/// In the child, where other threads of the parent may have closed some of them before the fork: closes those whose
/// numbers are the library's by now, of something that the child was not given.
void close_replaced(std::span<const int> inheritable, pid_t parent) noexcept;

void unblock_signals() noexcept;

/// From now on `exit` and `quick_exit` run only handlers that are registered later; then stdio is flushed and the
/// process ends with the given status, so nothing of the parent's is run. (The destructors of thread_local objects that
/// the forking thread had made are the exception: glibc runs them before any handler when `exit` is called.) Where the
/// C library has no `on_exit`, a child that calls `exit` ends with EXIT_FAILURE.
void isolate_exit() noexcept;

/// Ends the process as the end of `main` would: what was registered in it by `atexit` since `isolate_exit` runs, and
/// static objects made since then are destroyed; nothing of the parent's, nor thread_local objects. (Where the C
/// library is not glibc, as `leave`.)
[[noreturn]] void end_child(int status) noexcept;

/// Flushes stdio and ends the process without running handlers or destructors.
[[noreturn]] void leave(int status) noexcept;

}  // namespace cofork::detail
