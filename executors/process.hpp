// Process: a function, or a class with a `run`, in a forked child (`multiprocessing.Process`).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cofork/executors/process_info.hpp>
#include <cofork/executors/process_memory.hpp>
#include <cofork/executors/process_target.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/task.hpp>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {
class ParentWatch;
class ProcessChild;
}  // namespace detail

struct ProcessOptions {
  /// Empty: `Process-1`, `Process-2`, ..., and in the first one's own children `Process-1:1`, ...
  std::string_view name{};
  /// It is terminated when its parent ends, and may not start processes itself.
  bool daemon = false;
};

/// A function that runs in a child forked from this process (`multiprocessing.Process`).
///
/// The child sees the parent's memory as it was at `start()`; what it changes there it changes for itself. It shares
/// no loop with its parent, has no signal handlers, an empty standard input, and of the library's descriptors those of
/// the handles (queues, connections, locks) that it was given: as arguments, in the target's captures, or as members of
/// a derived class; of handles in a container other than a vector only those in arguments. Descriptors that a program
/// started by `exec` would inherit stay open. It ends by `_exit`, after what it registered itself by `atexit`, and
/// after flushing stdio, without any destructors or handlers of the parent.
///
/// Nobody has to wait for it: a child that still runs when its `Process` is destroyed goes on. When the run of
/// `cofork::run` in which it was started ends, and when the process does by returning from `main` or by `exit`, its
/// children are joined. Daemonic ones are not joined by a `run`; at the end of the process they get SIGTERM, and
/// SIGKILL if they have not ended a second later. A process that ends in any other way, be it by SIGKILL, takes all its
/// children with it.
///
/// Only the process that made a `Process` can use it. One object is used by one thread at a time. `std::logic_error` is
/// for calls at the wrong moment, and after `close()` or a move from it: from everything but `name()` and `daemon()`.
class Process : public detail::KnowsItsMemory {
 public:
  /// For derived classes that override `run`.
  Process();
  explicit Process(ProcessOptions options);
  /// The child calls `std::invoke(target, args...)` with its copies of them as rvalues. An awaitable that the target
  /// returns, such as a `Task`, runs on a loop in the child. The parent's are destroyed when the child was started.
  template <class F, class... A>
  requires std::invocable<F, A...>
  explicit Process(F target, A... args) : Process(ProcessOptions(), std::move(target), std::move(args)...) {}
  template <class F, class... A>
  requires std::invocable<F, A...> Process(ProcessOptions options, F target, A... args) : Process(options) {
    target_ = std::make_unique<detail::BoundTarget<F, A...>>(std::move(target), std::move(args)...);
  }
  /// Also while it runs.
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process() override;

  /// What the child does. It is called in the child only; the default calls the target, if there is one. An exception
  /// that leaves it is printed on stderr, and the exit status is 1.
  virtual void run();

  /// Forks the child. Once: `std::logic_error` the second time, and in a daemonic process. If there can be no child,
  /// `std::system_error`, and it may be tried again. Works in a running loop and without one, and in any thread; what
  /// other threads have locked at that moment stays locked in the child.
  void start();

  /// False before `start()`.
  bool is_alive();
  /// Nothing before its end; then its exit status, or -N if signal N killed it. 255 if somebody else has reaped it (or
  /// SIGCHLD is ignored, which makes the kernel do so).
  std::optional<int> exitcode();
  /// 0 before `start()`.
  pid_t pid() const;
  /// A descriptor that is readable from the child's end on; it belongs to this object. `std::logic_error` before
  /// `start()`.
  int sentinel() const;

  /// Waits for the child's end; true. May be awaited again, and by several. Cancelling it ends the wait only.
  Task<bool> join();
  /// The same, but false if the child has not ended after `timeout`; a negative one counts as 0.
  Task<bool> join(std::chrono::nanoseconds timeout);
  /// `join` without a loop; `std::logic_error` on a running loop's thread.
  bool blocking_join(std::optional<std::chrono::nanoseconds> timeout = std::nullopt);

  /// SIGTERM, which the child may handle. This and the following do nothing once it has ended. They concern the child
  /// alone, not what it started.
  void terminate();
  /// SIGKILL.
  void kill();
  /// SIGINT. It cancels a target that runs on a loop (exit status 1) and kills others. A Ctrl-C on the terminal is for
  /// the child, too, which is in its parent's process group.
  void interrupt();
  /// `std::system_error` if there is no such signal.
  void send_signal(int signo);

  /// Gives up what the parent keeps of an ended child. `std::logic_error` while it runs; idempotent.
  void close();

  /// Of no meaning, and known to the child as it was at `start()`.
  const std::string& name() const noexcept { return name_; }
  void set_name(std::string name);
  bool daemon() const noexcept { return daemon_; }
  /// Before `start()`.
  void set_daemon(bool daemon);

 private:
  enum class State : std::uint8_t { ready, started, running_here, closed, moved_from };

  void check_usable() const;
  detail::FoundHandles find_handles();
  detail::ProcessChild& child(const char* caller) const;
  [[noreturn]] void run_in_child(pid_t parent, detail::ParentWatch& watch, detail::GivenHandles& given,
                                 std::span<const int> descriptors, int null_device) noexcept;

  std::string name_;
  std::string numbers_;
  std::unique_ptr<detail::ProcessTarget> target_;
  std::shared_ptr<detail::ProcessChild> child_;
  pid_t creator_;
  bool daemon_;
  State state_ = State::ready;
};

}  // namespace cofork
