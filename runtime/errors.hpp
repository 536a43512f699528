// The exceptions of the library: one small hierarchy below `Error`, which is a `std::runtime_error`.
//
// Bad use (a zero `max_workers`) is `std::invalid_argument`, a call at the wrong moment `std::logic_error`, and an
// operating-system error `std::system_error`; those are not listed here.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace cofork {

/// Base of every exception that only this library throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The awaiting coroutine, or the work behind a future, was cancelled (`asyncio.CancelledError`).
class CancelledError : public Error {
 public:
  using Error::Error;
  CancelledError() : Error("cancelled") {}
};

/// `run()` was interrupted by SIGINT.
class KeyboardInterrupt : public CancelledError {
 public:
  using CancelledError::CancelledError;
  KeyboardInterrupt() : CancelledError("interrupted by SIGINT") {}
};

/// A deadline passed: of `wait_for`, of a task's `timeout`, of a map.
class TimeoutError : public Error {
 public:
  using Error::Error;
};

/// A future was asked for what it does not have yet, or completed twice; a pool was used after `shutdown()`.
class InvalidStateError : public Error {
 public:
  using Error::Error;
};

/// No worker can be started: the first error is nested (`std::rethrow_if_nested`).
class BrokenProcessPool : public Error {
 public:
  using Error::Error;
};

/// What running a task in a worker took. The processor time of a task of less than 20 µs is not measured: it is taken
/// to be user time from its beginning to its end.
struct TaskUsage {
  pid_t pid = 0;                      ///< the worker that executed it
  std::chrono::nanoseconds queued{};  ///< from the call of `submit` to the beginning of its execution
  std::chrono::nanoseconds wall{};    ///< from the beginning to the end of its execution
  std::chrono::nanoseconds user{};    ///< CPU time in user mode, of all threads of the worker
  std::chrono::nanoseconds system{};  ///< CPU time in the kernel
  std::size_t max_rss = 0;            ///< the worker's peak resident memory when the task ended, in bytes
};

/// The worker that was executing a task ended before the task did: by a signal, or by exiting, whatever its status.
/// The first line of its `what()` says how, while it executed what, and why if that can be told (a limit, a stack that
/// overflowed, the kernel's want of memory); after a crash the lines that follow are its backtrace, which
/// `remote_info` has too. With `PoolOptions::capture_stderr` the last lines are those that the task wrote last.
class WorkerDied : public Error {
 public:
  using Error::Error;
  WorkerDied(const std::string& what, pid_t pid, int exitcode, std::string task_name,
             std::optional<TaskUsage> usage = std::nullopt)
      : Error(what), pid_(pid), exitcode_(exitcode), task_name_(std::move(task_name)), usage_(usage) {}

  /// The worker's process id; 0 if it never ran.
  pid_t pid() const { return pid_; }
  /// As `Process::exitcode`: the exit status, or -N when signal N killed it.
  int exitcode() const { return exitcode_; }
  /// `SubmitOptions::name`, or the function's own name.
  const std::string& task_name() const { return task_name_; }
  /// What the worker had used for the task when it died, as far as it is known.
  std::optional<TaskUsage> usage() const { return usage_; }

 private:
  pid_t pid_ = 0;
  int exitcode_ = 0;
  std::string task_name_;
  std::optional<TaskUsage> usage_;
};

/// A task threw something that cannot travel as itself: `type_name()` says what it was, `what()` what it said.
class RemoteError : public Error {
 public:
  using Error::Error;
  RemoteError(std::string type_name, const std::string& what) : Error(what), type_name_(std::move(type_name)) {}

  /// The demangled name of the type that was thrown.
  const std::string& type_name() const { return type_name_; }

 private:
  std::string type_name_;
};

/// A message is truncated, oversized or malformed.
class DecodeError : public Error {
 public:
  using Error::Error;
};

/// The other end has closed and nothing is left to read (`EOFError`).
class EndOfFile : public Error {
 public:
  using Error::Error;
};

/// `queue.Empty`.
class QueueEmpty : public Error {
 public:
  using Error::Error;
};

/// `queue.Full`.
class QueueFull : public Error {
 public:
  using Error::Error;
};

/// The queue was shut down (`queue.ShutDown`).
class QueueShutDown : public Error {
 public:
  using Error::Error;
};

/// `threading.BrokenBarrierError`.
class BrokenBarrier : public Error {
 public:
  using Error::Error;
};

/// A process ended while it owned a lock.
class OwnerDied : public Error {
 public:
  using Error::Error;
};

/// The peer does not know the key.
class AuthenticationError : public Error {
 public:
  using Error::Error;
};

}  // namespace cofork
