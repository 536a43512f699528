#include <algorithm>
#include <cmath>
#include <cofork/executors/trace_lanes.hpp>
#include <limits>
#include <utility>

namespace cofork::detail {

namespace {
constexpr const char* function_colours[] = {"#4e79a7", "#59a14f", "#76b7b2", "#b07aa1", "#edc948",
                                            "#9c755f", "#86bcb6", "#8cd17d", "#499894"};
constexpr const char* rare_colour = "#a8b0b8";
constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
}  // namespace

std::size_t TimeScale::column(std::int64_t time) const {
  const double place = std::floor(x(time) - left);
  return static_cast<std::size_t>(std::clamp(place, 0.0, std::max(width - 1, 0.0)));
}

std::int64_t TimeScale::step() const {
  const double wanted = static_cast<double>(end - begin) / 10;
  double power = std::pow(10.0, std::floor(std::log10(std::max(wanted, 1.0))));
  for (const double factor : {1.0, 2.0, 5.0, 10.0})
    if (power * factor >= wanted) return static_cast<std::int64_t>(power * factor);
  return static_cast<std::int64_t>(power * 10);
}

TimeScale scale_of(const TraceLog& log, double left, double width) {
  std::int64_t begin = never, end = 0;
  const auto add = [&](std::int64_t time) {
    if (time == 0) return;
    begin = std::min(begin, time);
    end = std::max(end, time);
  };
  for (const TracedTask& task : log.tasks) {
    add(task.queued_at);
    add(task.received_at);
  }
  for (const TracedWorker& worker : log.workers) {
    add(worker.forked_at);
    add(worker.started_at);
    add(worker.ended_at);
  }
  for (const TracedSignal& signal : log.signals) add(signal.at);
  if (begin > end) begin = end = log.origin;
  return {begin, std::max(end, begin + 1), left, width};
}

Lanes::Lanes(const TraceLog& log) {
  std::vector<std::int64_t> free_from;
  for (std::uint64_t number = log.workers.first(); const TracedWorker& worker : log.workers) {
    std::size_t lane = 0;
    while (lane < lanes_.size() && (lanes_[lane].pool != worker.pool || free_from[lane] > worker.forked_at)) ++lane;
    if (lane == lanes_.size()) {
      lanes_.push_back({worker.pool});
      free_from.push_back(0);
    }
    lanes_[lane].workers.push_back(number);
    free_from[lane] = worker.ended_at != 0 ? worker.ended_at : never;
    lane_of_.emplace(number++, lane);
  }
}

std::optional<std::size_t> Lanes::of(std::uint64_t worker) const {
  const auto lane = lane_of_.find(worker);
  return lane != lane_of_.end() ? std::optional(lane->second) : std::nullopt;
}

void Column::add(const TracedTask& task) {
  const std::int64_t wall = task.ended_at - task.begun_at;
  ++tasks;
  busy += wall;
  if (wall > longest) {
    longest = wall;
    name = task.name;
  }
  if (task.end == TaskEnd::returned) return;
  ++failed;
  end = task.end;
}

int Column::eighths(double nanoseconds) const {
  return static_cast<int>(std::clamp(std::ceil(8 * static_cast<double>(busy) / nanoseconds), 1.0, 8.0));
}

bool Column::looks_like(const Column& other, double nanoseconds) const {
  return name == other.name && end == other.end && eighths(nanoseconds) == other.eighths(nanoseconds);
}

const char* colour_of(TaskEnd end) {
  switch (end) {
    case TaskEnd::threw:
      return "#f28e2b";
    case TaskEnd::died:
      return "#d62728";
    case TaskEnd::timed_out:
      return "#c2189b";
    default:
      return "#5f6670";
  }
}

Legend::Legend(const TraceLog& log) : colours_(log.names.size(), rare_colour) {
  struct Total {
    std::uint32_t name;
    std::uint64_t tasks = 0;
    std::int64_t busy = 0;
  };
  std::vector<Total> totals;
  for (std::uint32_t name = 0; name < log.names.size(); ++name) totals.push_back({name});
  for (const TracedTask& task : log.tasks) {
    ends[static_cast<std::size_t>(task.end)] += task.together;
    if (task.worker == TracedTask::nobody) continue;
    ++totals[task.name].tasks;
    totals[task.name].busy += task.ended_at - task.begun_at;
  }
  std::erase_if(totals, [](const Total& total) { return total.tasks == 0; });
  std::sort(totals.begin(), totals.end(),
            [](const Total& a, const Total& b) { return a.busy != b.busy ? a.busy > b.busy : a.name < b.name; });
  std::uint64_t rare = 0;
  for (std::size_t i = 0; i < totals.size(); ++i) {
    if (i >= std::size(function_colours)) {
      rare += totals[i].tasks;
      continue;
    }
    colours_[totals[i].name] = function_colours[i];
    functions.push_back({log.names[totals[i].name], function_colours[i], totals[i].tasks});
  }
  if (rare != 0) functions.push_back({"others", rare_colour, rare});
}

const char* Legend::colour(std::uint32_t name, TaskEnd end) const {
  return end == TaskEnd::returned ? colours_[name] : colour_of(end);
}

std::vector<std::uint64_t> waiting_tasks(const TraceLog& log, const TimeScale& scale) {
  std::vector<std::pair<std::int64_t, std::int64_t>> changes;
  changes.reserve(log.tasks.size() * 2);
  for (const TracedTask& task : log.tasks) {
    changes.emplace_back(task.queued_at, task.together);
    changes.emplace_back(task.worker == TracedTask::nobody ? task.ended_at : task.begun_at,
                         -std::int64_t{task.together});
  }
  std::sort(changes.begin(), changes.end());
  std::vector<std::uint64_t> most(static_cast<std::size_t>(scale.width));
  std::int64_t waiting = 0;
  std::size_t column = 0;
  for (const auto& [time, change] : changes) {
    for (const std::size_t now = scale.column(time); column < now;)
      most[++column] = static_cast<std::uint64_t>(waiting);
    waiting = std::max<std::int64_t>(waiting + change, 0);
    most[column] = std::max(most[column], static_cast<std::uint64_t>(waiting));
  }
  return most;
}

}  // namespace cofork::detail
