#include <fmt/format.h>

#include <cofork/executors/format.hpp>
#include <cofork/executors/trace_text.hpp>

namespace cofork {

namespace {
std::string counted(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}
}  // namespace

std::string to_string(const PoolStats& stats) {
  return fmt::format(
      "{}, {} running, {} pending; {} submitted: {} completed, {} failed, {} cancelled; {} started, {} died",
      counted(stats.workers, "worker"), stats.running, stats.pending, stats.submitted, stats.completed, stats.failed,
      stats.cancelled, counted(stats.workers_started, "worker"), stats.workers_died);
}

std::string to_string(const TaskUsage& usage) {
  const auto time = [](std::chrono::nanoseconds duration) { return detail::duration_text(duration.count()); };
  return fmt::format("{} wall, {} user, {} system, {:.1f} MiB at most, queued for {}, in process {}", time(usage.wall),
                     time(usage.user), time(usage.system), static_cast<double>(usage.max_rss) / (1 << 20),
                     time(usage.queued), usage.pid);
}

std::string to_string(const ProgressReport& report) {
  std::string text =
      report.total ? fmt::format("{} of {}", report.done, *report.total) : fmt::format("{} done", report.done);
  if (report.failed != 0) text += fmt::format(", {} failed", report.failed);
  text += fmt::format(", {:.3g}/s", report.rate);
  if (report.finished || !report.left) return text + ", " + detail::duration_text(report.elapsed.count());
  return text + ", " + detail::duration_text(report.left->count()) + " left";
}

}  // namespace cofork
