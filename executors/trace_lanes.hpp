// How a trace lies on paper: rows for workers, a scale of time, colours for functions.
#pragma once

#include <cofork/executors/trace_log.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace cofork::detail {

/// Time from left to right.
struct TimeScale {
  std::int64_t begin = 0, end = 1;
  double left = 0, width = 1;

  double x(std::int64_t time) const {
    return left + width * static_cast<double>(time - begin) / static_cast<double>(end - begin);
  }
  std::size_t column(std::int64_t time) const;
  /// Between marks: 1, 2 or 5 times a power of ten, in nanoseconds.
  std::int64_t step() const;
};

/// From the first thing that was recorded to the last.
TimeScale scale_of(const TraceLog& log, double left, double width);

/// A row: a worker, and those that took its place after it.
struct Lane {
  std::uint32_t pool = 0;
  std::vector<std::uint64_t> workers{};
};

class Lanes {
 public:
  explicit Lanes(const TraceLog& log);
  const std::vector<Lane>& all() const noexcept { return lanes_; }
  std::optional<std::size_t> of(std::uint64_t worker) const;

 private:
  std::vector<Lane> lanes_;
  std::unordered_map<std::uint64_t, std::size_t> lane_of_;
};

/// What lies in one pixel of a lane, of tasks that are narrower than that.
struct Column {
  std::uint32_t tasks = 0;
  std::uint32_t failed = 0;
  std::uint32_t name = 0;  // of the longest
  std::int64_t busy = 0, longest = -1;
  TaskEnd end = TaskEnd::returned;  // of the last that failed

  void add(const TracedTask& task);
  bool looks_like(const Column& other, double nanoseconds) const;
  /// How much of the pixel is covered, in eighths, at least one.
  int eighths(double nanoseconds) const;
};

/// A function, or all of the rare ones.
struct Legend {
  struct Entry {
    std::string name;
    const char* colour;
    std::uint64_t tasks;
  };
  explicit Legend(const TraceLog& log);
  const char* colour(std::uint32_t name, TaskEnd end) const;

  std::vector<Entry> functions;
  std::uint64_t ends[task_ends] = {};

 private:
  std::vector<const char*> colours_;
};
const char* colour_of(TaskEnd end);

/// The most tasks that waited in each of the columns.
std::vector<std::uint64_t> waiting_tasks(const TraceLog& log, const TimeScale& scale);

}  // namespace cofork::detail
