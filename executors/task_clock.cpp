#include <algorithm>
#include <cofork/executors/task_clock.hpp>
#include <utility>

namespace cofork::detail {

namespace {

// Items that took longer are measured.
constexpr std::int64_t worth_asking = 20'000;
// What was known before an item begins is asked again when it is older.
constexpr std::int64_t too_old = 100'000;

std::int64_t nanoseconds(const timeval& time) { return (time.tv_sec * std::int64_t{1'000'000} + time.tv_usec) * 1000; }

}  // namespace

std::int64_t user_time(const rusage& usage) noexcept { return nanoseconds(usage.ru_utime); }
std::int64_t system_time(const rusage& usage) noexcept { return nanoseconds(usage.ru_stime); }
std::uint64_t peak_memory(const rusage& usage) noexcept { return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024; }

void TaskClock::read(std::int64_t now) noexcept {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return;
  news_ = true;
  read_at_ = now;
  user_ = user_time(usage);
  system_ = system_time(usage);
  max_rss_ = peak_memory(usage);
  unmeasured_ = 0;
}

bool TaskClock::begin(std::int64_t now) noexcept {
  if (now - read_at_ >= too_old) read(now);
  return std::exchange(news_, false);
}

ipc::ItemUsage TaskClock::end(std::int64_t begun_at, std::int64_t now) noexcept {
  ipc::ItemUsage usage;
  usage.begun_at = begun_at;
  usage.wall = usage.user = now - begun_at;
  if (usage.wall < worth_asking) {
    unmeasured_ += usage.wall;
  } else {
    const std::int64_t user_before = user_ + unmeasured_;
    const std::int64_t system_before = system_;
    const std::int64_t between = std::max<std::int64_t>(begun_at - read_at_ - unmeasured_, 0);
    read(now);
    usage.user = std::max<std::int64_t>(user_ - user_before, 0);
    usage.system = std::max<std::int64_t>(system_ - system_before, 0);
    // What one thread cannot have used since the beginning, the worker used between items.
    const std::int64_t excess = std::clamp<std::int64_t>(usage.user + usage.system - usage.wall, 0, between);
    const std::int64_t of_user = std::min(excess, usage.user);
    usage.user -= of_user;
    usage.system -= excess - of_user;
  }
  usage.max_rss = max_rss_;
  return usage;
}

}  // namespace cofork::detail
