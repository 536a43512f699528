// How many processes can run at the same time.
#pragma once

#include <filesystem>
#include <optional>

namespace cofork {

/// How many processes or threads of this program the system runs in parallel: the CPUs that the calling thread may use
/// (`sched_setaffinity`, `taskset`, cpusets), or fewer if the cgroup of this process, or one above it, has a CPU quota;
/// a fraction of a CPU counts as one. At least 1. The default of `max_workers`, but in a pool's worker (see
/// `PoolOptions`). (`os.process_cpu_count`, which does not know about quotas.) Reads files of /proc and /sys at each
/// call.
unsigned available_parallelism();

/// The CPUs of the machine that are online (`os.cpu_count`). At least 1.
unsigned cpu_count();

namespace detail {

/// The CPU time per time that cgroups, v2 or v1, leave to this process; nothing if it is not limited. `root` is where
/// /proc and the cgroup file systems are looked for.
std::optional<double> cgroup_cpu_quota(const std::filesystem::path& root = "/");

}  // namespace detail

}  // namespace cofork
