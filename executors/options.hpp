// The options of the executors: aggregates passed first, with designated initialisers. Names are copied by the callee.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cofork {

/// Where the workers of a pool come from.
enum class StartMethod {
  automatic,   ///< whatever suits; at present as `fork`
  fork,        ///< a template process that the pool forks from this one when it is first used
  forkserver,  ///< as `fork`
};

struct PoolOptions {
  /// Worker processes at most; 0 means `available_parallelism()`. They are started when they are needed.
  unsigned max_workers = 0;
  /// A worker is replaced after so many tasks; 0: never.
  unsigned max_tasks_per_child = 0;
  StartMethod start_method = StartMethod::automatic;
  /// Not supported yet: `std::invalid_argument` unless 0.
  std::size_t max_rss_per_child = 0;
  /// Between SIGTERM and SIGKILL when a running task is stopped; 0 means one second.
  std::chrono::nanoseconds grace{};
  /// Of the worker processes, as `ps` shows it (15 characters).
  std::string_view name{};
  /// Starts all workers at once, in the constructor, for which a loop must be running.
  bool prestart = false;
};

struct SubmitOptions {
  /// How long the task may execute; 0: for ever. At the deadline its worker is stopped (SIGTERM, after `grace` SIGKILL)
  /// and replaced, and the future ends with `TimeoutError`.
  std::chrono::nanoseconds timeout{};
  /// 0 means the pool's.
  std::chrono::nanoseconds grace{};
  /// How often the task is run again after its worker died.
  unsigned retries = 0;
  /// For messages; empty means the function's own name.
  std::string_view name{};
  /// Not supported yet: `std::invalid_argument` unless 0.
  std::size_t memory_limit = 0;
  /// Not supported yet: `std::invalid_argument` unless 0.
  std::chrono::seconds cpu_limit{};
  /// Higher ones start first; within one the order of submission is the order of starting.
  int priority = 0;
};

struct MapOptions {
  /// Items that are sent to a worker together; 0: chosen from the measured time of the items.
  std::size_t chunksize = 0;
  /// Items in flight or waiting to be taken, at most; 0: enough to keep the workers busy.
  std::size_t buffersize = 0;
  /// For the whole map, from the call; 0: none. At the deadline `next()` throws `TimeoutError` and the map has ended.
  std::chrono::nanoseconds timeout{};
  /// For the execution of each item; 0: none. An item that takes longer fails with `TimeoutError`, alone.
  std::chrono::nanoseconds item_timeout{};
  /// Results in the order of the input, or as they complete.
  bool ordered = true;
  /// How often an item is run again after its worker died.
  unsigned retries = 0;
};

struct ShutdownOptions {
  /// The returned task waits until every task has ended and every worker is reaped.
  bool wait = true;
  /// Tasks that no worker executes yet are cancelled.
  bool cancel_futures = false;
};

/// What a pool has done and has to do. Tasks are single submissions and the items of maps.
struct PoolStats {
  std::uint64_t submitted = 0, completed = 0, failed = 0, cancelled = 0, workers_started = 0, workers_died = 0;
  std::size_t pending = 0, running = 0, workers = 0;
};

}  // namespace cofork
