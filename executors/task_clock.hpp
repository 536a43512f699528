// What the items that a worker executes use of the machine.
#pragma once

#include <sys/resource.h>

#include <cofork/ipc/task_segment.hpp>
#include <cstdint>

namespace cofork::detail {

/// Processor time of a `rusage`, in nanoseconds.
std::int64_t user_time(const rusage& usage) noexcept;
std::int64_t system_time(const rusage& usage) noexcept;
/// In bytes.
std::uint64_t peak_memory(const rusage& usage) noexcept;

/// Measures this process, item by item. To ask the kernel costs as much as a short call: it is asked at the end of
/// items that took more than 20 µs, and before an item begins if it was not in the last 100 µs. The processor time of
/// shorter items is taken to be their wall-clock time; that of longer ones may include up to 100 µs that the worker
/// used before.
class TaskClock {
 public:
  /// All in nanoseconds of the monotonic clock. True if the times are other ones than at the last beginning.
  bool begin(std::int64_t now) noexcept;
  ipc::ItemUsage end(std::int64_t begun_at, std::int64_t now) noexcept;

  std::int64_t user() const noexcept { return user_; }
  std::int64_t system() const noexcept { return system_; }

 private:
  void read(std::int64_t now) noexcept;

  std::int64_t read_at_ = 0;
  bool news_ = false;
  std::int64_t user_ = 0, system_ = 0;
  std::uint64_t max_rss_ = 0;
  std::int64_t unmeasured_ = 0;  // time of short items since
};

}  // namespace cofork::detail
