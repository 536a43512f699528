// The options of the executors: aggregates passed first, with designated initialisers. Names are copied by the callee.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cofork {

/// Where the workers of a pool come from.
enum class StartMethod {
  /// As `forkserver` where `fork_server::start()` was called, otherwise as `fork`, with advice on stderr, once, if this
  /// process has other threads or more than a gibibyte of memory at that time.
  automatic,
  /// A template process that the pool forks from this one when it is first used.
  fork,
  /// A template process that the process forks which `fork_server::start()` has forked; `InvalidStateError` at the
  /// first use if there is none.
  forkserver,
};

struct PoolOptions {
  /// Worker processes at most; 0 means `available_parallelism()`, and in a worker of another pool its equal share of
  /// what that pool had, at least 1. They are started when they are needed.
  unsigned max_workers = 0;
  /// A worker is replaced after so many tasks; 0: never.
  unsigned max_tasks_per_child = 0;
  StartMethod start_method = StartMethod::automatic;
  /// A worker is replaced when it has more resident memory than this, in bytes, after a task; 0: never. What counts is
  /// its private memory (anonymous pages, neither shared nor of files) beyond what it had at its start, so nothing of
  /// what it was forked with. It is measured at most once in a millisecond, and what it has not begun goes to others.
  std::size_t max_rss_per_child = 0;
  /// Between SIGTERM and SIGKILL when a running task is stopped; 0 means one second.
  std::chrono::nanoseconds grace{};
  /// Of the worker processes, as `ps` shows it (15 characters).
  std::string_view name{};
  /// Starts all workers at once, in the constructor, for which a loop must be running.
  bool prestart = false;
  /// A worker that had nothing to do for so long leaves, down to none; 0: never. The template stays, so that a worker
  /// that is started later finds what the others found.
  std::chrono::nanoseconds idle_timeout{};
  /// What a worker writes to its standard error during the task that it dies of ends the `what()` of `WorkerDied`: the
  /// last lines, 2 KiB at most, with a question mark for each control character. Standard error is a pipe then, not a
  /// terminal, in the workers and in what they start; the template passes everything on to this process's at once, each
  /// worker's in order. While that takes nothing the workers wait as soon as their pipes are full; what it has not
  /// taken half a second after the pool's end is lost. A worker for whose pipe there is no descriptor writes as without
  /// this. Each task costs a system call more.
  bool capture_stderr = false;
};

struct SubmitOptions {
  /// How long the task may execute; 0: for ever. At the deadline its worker is stopped (SIGTERM, after `grace` SIGKILL)
  /// and replaced, and the future ends with `TimeoutError`. A coroutine is cancelled instead, and its worker replaced
  /// only if it has not ended after `grace`.
  std::chrono::nanoseconds timeout{};
  /// 0 means the pool's.
  std::chrono::nanoseconds grace{};
  /// How often the task is run again after its worker died.
  unsigned retries = 0;
  /// For messages; empty means the function's own name.
  std::string_view name{};
  /// Bytes of private memory that the call may take on top of what its worker has then; 0: no limit. Beyond it
  /// allocations fail, in C++ with `std::bad_alloc`. A task with this limit or the next runs in a worker of its own,
  /// one of the pool's, that is fresh and leaves after it; and what the task starts has the same limits, each for
  /// itself.
  std::size_t memory_limit = 0;
  /// Processor time that the call may take; 0: no limit. At its end the worker gets SIGXCPU, which kills it
  /// (`WorkerDied`, exit code `-SIGXCPU`), and a second later SIGKILL.
  std::chrono::seconds cpu_limit{};
  /// Higher ones start first; within one the order of submission is the order of starting.
  int priority = 0;
};

struct MapOptions {
  /// Items that are sent to a worker together; 0: chosen from the measured time of the items.
  std::size_t chunksize = 0;
  /// Items in flight or waiting to be taken, at most; 0: enough to keep the workers busy.
  std::size_t buffersize = 0;
  /// For the whole map, from the call; 0: none. What is not done at the deadline is cancelled: after the results that
  /// were there before, `next()` throws `TimeoutError` and the map has ended.
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

namespace detail {
/// `std::invalid_argument` for durations that are negative.
void check_options(const SubmitOptions& options);
void check_options(const MapOptions& options);
}  // namespace detail

}  // namespace cofork
