#include <algorithm>
#include <cofork/executors/parallelism.hpp>
#include <cofork/executors/pool_nesting.hpp>
#include <cofork/executors/process_table.hpp>
#include <cofork/runtime/errors.hpp>
#include <string>

namespace cofork::detail {

namespace {
// Written in a fresh worker, before there are threads, and inherited by what it forks.
unsigned depth = 0;
unsigned share = 0;  // 0: all
}  // namespace

unsigned pool_depth() noexcept { return depth; }

void check_pool_depth() {
  if (depth >= most_nested_pools)
    throw Error("pools are nested too deeply: this process is a worker inside of " + std::to_string(depth) +
                " pools, each in a worker of another");
}

unsigned cpu_share() {
  const unsigned available = available_parallelism();
  return share == 0 ? available : std::min(share, available);
}

void become_pool_worker(const ipc::WorkerSettings& settings) {
  depth = settings.depth;
  share = std::max(settings.parallelism, 1u);
  ProcessTable::instance().become_pool_worker(settings.number);
}

}  // namespace cofork::detail
