// What a death has to do with the limits that a task had.
#pragma once

#include <cofork/executors/fork_server.hpp>
#include <cofork/executors/resource_limits.hpp>
#include <string>

namespace cofork::detail {

/// For the message of a `WorkerDied`: empty, or ": its cpu_limit of 2 s was used up" and the like.
std::string limit_note(const ResourceLimits& limits, const WorkerExit* exit);

}  // namespace cofork::detail
