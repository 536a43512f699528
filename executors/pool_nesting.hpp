// Pools inside the workers of pools: how deep they may be, and how they share the CPUs.
#pragma once

#include <cofork/ipc/task_segment.hpp>

namespace cofork::detail {

/// Pools may be inside one another so many deep.
inline constexpr unsigned most_nested_pools = 10;

/// The pools that the calling process is inside of, as a worker or as a descendant of one.
unsigned pool_depth() noexcept;

/// Throws `Error` where there may be no further pool.
void check_pool_depth();

/// How many workers a pool of this process has unless it is told: `available_parallelism()`, or of a pool's worker its
/// equal share of what that pool had, at least 1. Nothing is lent or given back, so nothing is lost with who is killed.
unsigned cpu_share();

/// Makes the calling process the worker of a pool.
void become_pool_worker(const ipc::WorkerSettings& settings);

}  // namespace cofork::detail
