// Starts a program at a cost that does not depend on this process's size. Not for users.
#pragma once

#include <sys/types.h>

#include <array>
#include <cofork/runtime/descriptor.hpp>
#include <string>
#include <vector>

namespace cofork::detail {

struct ProgramPlan {
  std::vector<std::string> arguments;       ///< The first is the program: a path, or a name that is looked for in PATH.
  std::vector<std::string> environment;     ///< "NAME=value"
  bool own_environment = false;             ///< Otherwise that of this process.
  std::string directory;                    ///< Empty: that of this process.
  std::array<int, 3> stdio = {-1, -1, -1};  ///< Its 0, 1 and 2; -1: those of this process. The others are above 2.
};

/// A program that was started leads a process group of its own, with default signals and of our descriptors only those
/// of the plan. It gets SIGKILL when the thread that started it ends.
///
/// Closing `leash` sends SIGKILL to every process of the group, the program or what it has left behind, and the kernel
/// closes it when this process ends, in whatever way. It is a pipe whose read end the group inherits, and for that the
/// kernel's signal of readability is SIGKILL to the group (F_SETOWN, F_SETSIG). Nobody in the group knows of it; who
/// closes all descriptors that it does not know is no longer held by it, but then the death signal still holds.
struct StartedProgram {
  pid_t pid;
  Descriptor pidfd;
  Descriptor leash;
};

/// Blocks until the program is executed. Throws `std::invalid_argument` for arguments that no program can have, and
/// `std::system_error`, "start no-such-program: No such file or directory".
StartedProgram start_program(const ProgramPlan& plan);

}  // namespace cofork::detail
