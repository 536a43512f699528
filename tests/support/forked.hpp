#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <source_location>
#include <string>

#include "support/sanitizers.hpp"

namespace support {

/// How a child ended and what it wrote.
struct ChildOutcome {
  pid_t pid = 0;
  std::optional<int> exit_status;  ///< set if it exited
  std::optional<int> signal;       ///< set if a signal ended it
  bool timed_out = false;          ///< it was killed for taking longer than its limit
  std::string output;              ///< stdout and stderr, in the order written

  bool succeeded() const { return exit_status == 0; }
};

/// Runs `body` in a forked child in a process group of its own, with default signal dispositions and its output
/// captured, and waits for its end. The child leaves by `_exit`: 0 when `body` returns, 70 with the message in `output`
/// when it throws. After `limit` (more under a sanitizer) its whole group is killed. Catch2 is not there in the child:
/// check with require(), then CHECK the outcome in the parent:
///
///     const auto child = support::in_child([] { support::require(f() == 3, "f"); });
///     INFO(child.output);
///     CHECK(child.succeeded());
ChildOutcome in_child(const std::function<void()>& body, std::chrono::milliseconds limit = std::chrono::seconds(30));

/// Unless `condition` holds, prints where and `message` and ends this process with status 71.
void require(bool condition, const std::string& message, std::source_location where = std::source_location::current());

/// Waits until `condition` holds, looking every millisecond; false if it does not within `limit`. For what only other
/// processes can bring about and no descriptor tells.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(30));

/// Whether the process exists and is not a zombie.
bool is_running(pid_t pid);

}  // namespace support
