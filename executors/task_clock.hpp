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

/// Measures this process, item by item. To ask the kernel costs as much as a short call, so it is asked again only when
/// what is known is some 20 µs old: at the end of items that took longer, and before one begins. Of shorter items the
/// processor time is taken to be their wall-clock time; of longer ones it may include as much that came before.
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
