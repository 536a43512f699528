// Awaiting the end of a child.
#pragma once

#include <chrono>
#include <cofork/executors/process_child.hpp>
#include <cofork/runtime/task.hpp>
#include <memory>
#include <optional>

namespace cofork::detail {

/// See Process::join; no timeout waits for ever.
Task<bool> join_child(std::shared_ptr<ProcessChild> child, std::optional<std::chrono::nanoseconds> timeout);

}  // namespace cofork::detail
