// TraceRecorder: what every worker of a pool did, and when.
#pragma once

#include <cofork/executors/process_pool_executor.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <memory>
#include <string>
#include <thread>

namespace cofork {

namespace detail {
class TraceLog;
}

struct TraceOptions {
  /// Executions of tasks that are kept, at most, and as many workers and signals; the oldest give way. One takes about
  /// a hundred bytes.
  std::size_t max_tasks = 1'000'000;
};

/// Records for every task of the pools that it is attached to when it was queued, was sent to a worker, began, ended,
/// and was received, how it ended, and in which worker; and when each worker was forked, started, signalled and ended.
/// Python has nothing like it.
///
///     TraceRecorder trace;
///     ProcessPoolExecutor pool;
///     trace.attach(pool);
///     ...
///     trace.write_svg("timeline.svg");
///
/// Begin and end are those of the worker's own clock readings; a task of a map is queued when it is taken out of the
/// input. What goes on is recorded when it ends: a task that is running is not in what is written, and the begin of the
/// last few that a busy worker has given back is exact once it has done with what it was sent together with them.
///
/// Pools and recorder may end in any order: a recorder keeps what its pools did, a pool goes on unrecorded. It belongs
/// to the thread that makes it, and so do the pools.
class TraceRecorder {
 public:
  /// `std::invalid_argument` if `max_tasks` is 0.
  explicit TraceRecorder(TraceOptions options = {});
  TraceRecorder(TraceRecorder&&) = delete;
  ~TraceRecorder();

  /// Records this pool from now on, for as long as both exist; several pools may share a recorder. `std::logic_error`
  /// if the pool has one already, or on another thread than that which made the recorder.
  void attach(ProcessPoolExecutor& pool);

  /// Executions recorded, those that gave way included.
  std::uint64_t tasks() const noexcept;
  /// Executions that gave way to later ones, or were not recorded for want of memory.
  std::uint64_t dropped() const noexcept;
  /// Forgets what was recorded. Workers that are running are recorded from now on.
  void clear() noexcept;

  /// In the Trace Event Format, which ui.perfetto.dev and chrome://tracing open: a row for each worker, and the times
  /// before and after the executions as asynchronous events. Bytes of names that are not UTF-8 become U+FFFD. Writing
  /// blocks the thread; the functions with a path throw `std::system_error` if the file cannot be written.
  std::string json() const;
  void write_json(std::ostream& out) const;
  void write_json(const std::filesystem::path& path) const;

  /// A picture for any browser: time from left to right, a row for each worker, whose place its successor takes; tasks
  /// coloured by function, or by how they failed. What the mouse points at tells its details. Executions narrower than
  /// a pixel are drawn together.
  std::string svg() const;
  void write_svg(std::ostream& out) const;
  void write_svg(const std::filesystem::path& path) const;

 private:
  std::shared_ptr<detail::TraceLog> log_;
  const std::thread::id thread_ = std::this_thread::get_id();
};

}  // namespace cofork
