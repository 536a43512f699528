// How large a worker has grown, as it tells its pool.
#pragma once

#include <cofork/ipc/task_receiver.hpp>
#include <cstdint>

namespace cofork::detail {

/// At the worker's start: what it has now does not count. Does nothing, as the next, if the pool has no limit.
void watch_memory(ipc::TaskReceiver& receiver);

/// Between two calls. Measures at most once in a millisecond, by one system call. What `malloc` has kept of freed
/// memory is given back before the worker calls itself too large.
void report_memory(ipc::TaskReceiver& receiver, std::int64_t now);

}  // namespace cofork::detail
