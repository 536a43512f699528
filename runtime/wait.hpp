// wait(): until some or all of many futures are done.
#pragma once

#include <chrono>
#include <cofork/runtime/future_set.hpp>
#include <cofork/runtime/task.hpp>
#include <cstddef>
#include <optional>
#include <vector>

namespace cofork {

enum class ReturnWhen {
  all_completed,    ///< all are done
  first_completed,  ///< one is done, however it ended
  first_exception,  ///< one has failed, or all are done; to be cancelled is no failure
};

struct WaitOptions {
  ReturnWhen return_when = ReturnWhen::all_completed;
  /// Counts from the await; 0 or less only looks. None: no limit.
  std::optional<std::chrono::nanoseconds> timeout{};
};

/// Indices into the vector of futures, ascending.
struct WaitResult {
  std::vector<std::size_t> done;
  std::vector<std::size_t> not_done;
};

namespace detail {
Task<WaitResult> wait_for_states(FutureSet::States states, WaitOptions options);
}

/// Waits until the futures are done as `options` says, or its time is over, and tells which are
/// (`concurrent.futures.wait`). It never throws for a future that failed, nor for the time, and it never stops a
/// future, also not when the awaiter is cancelled, which gets its `CancelledError` at once. The futures stay the
/// caller's and may be moved meanwhile; of an empty vector the result is there at once. `InvalidStateError` for a
/// moved-from future.
template <class T>
Task<WaitResult> wait(std::vector<Future<T>>& futures, WaitOptions options = {}) {
  return detail::wait_for_states(detail::states_of(futures), options);
}

}  // namespace cofork
