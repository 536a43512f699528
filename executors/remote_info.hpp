// Where an exception came from, when a worker threw it.
#pragma once

#include <sys/types.h>

#include <exception>
#include <string>

namespace cofork {

struct RemoteInfo {
  pid_t pid = 0;          ///< The worker; 0: the exception did not come from one.
  std::string task_name;  ///< `SubmitOptions::name`, or the function's own name.
  /// Of the throw, or of the crash that ended the worker: a line for each function, the innermost first. Empty if it
  /// is not known: the exception was made without being thrown, or on another thread of the worker than the task's own,
  /// the program has an own `__cxa_throw` (as sanitizers and static libstdc++ have), or the worker was just killed.
  std::string backtrace;
};

/// What is known about an exception that a future or a stream gave, apart from the exception itself: of those that a
/// task threw in a worker, and of the `WorkerDied` and `TimeoutError` that ended one. Of one that went through several
/// workers, where it was first thrown. Of any other exception, and of a copy, all is empty. From any thread.
///
/// Functions are named by the symbol tables of the program and its libraries, in all that is not stripped.
RemoteInfo remote_info(const std::exception_ptr& error);

}  // namespace cofork
