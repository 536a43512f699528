// A trace as a picture: what a person looks at to see where the time went.
#include <fmt/format.h>

#include <algorithm>
#include <cofork/executors/trace_lanes.hpp>
#include <cofork/executors/trace_output.hpp>
#include <cofork/executors/trace_text.hpp>
#include <iterator>
#include <ostream>
#include <utility>

namespace cofork::detail {

namespace {

constexpr double page_width = 1180, left = 130, right = 30;
constexpr double plot_width = page_width - left - right;
constexpr double head = 62, waiting_height = 34, row = 24, bar = 18, axis = 34, legend_row = 20;
constexpr double letter = 6.4;  // about the width of one

class Picture : private TraceOutput {
 public:
  Picture(const TraceLog& log, std::ostream& out)
      : TraceOutput(out), log_(log), scale_(scale_of(log, left, plot_width)), lanes_(log), legend_(log) {
    pixel_ = static_cast<double>(scale_.end - scale_.begin) / plot_width;
  }

  void draw() {
    const double rows_end = head + waiting_height + row * static_cast<double>(lanes_.all().size());
    const double height = rows_end + axis + legend_height() + 10;
    append(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
        "font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#333\">\n"
        "<title>Timeline of a process pool</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        page_width, height);
    draw_head();
    draw_axis(rows_end);
    draw_waiting();
    for (std::size_t lane = 0; lane < lanes_.all().size(); ++lane) draw_workers(lane);
    draw_tasks();
    for (const TracedSignal& signal : log_.signals) draw_signal(signal);
    for (const Lane& lane : lanes_.all())
      for (const std::uint64_t worker : lane.workers) draw_end(worker);
    draw_legend(rows_end + axis);
    append("</svg>\n");
    flush();
  }

 private:
  std::string since_begin(std::int64_t time) const { return duration_text(time - scale_.begin); }
  static double top_of(std::size_t lane) {
    return head + waiting_height + row * static_cast<double>(lane) + (row - bar) / 2;
  }

  void draw_head() {
    std::uint64_t executed = 0;
    std::int64_t busy = 0, alive = 0;
    for (const TracedTask& task : log_.tasks) {
      if (task.worker == TracedTask::nobody) continue;
      ++executed;
      busy += task.ended_at - task.begun_at;
    }
    for (const TracedWorker& worker : log_.workers)
      alive += (worker.ended_at != 0 ? worker.ended_at : scale_.end) - worker.forked_at;
    const std::uint64_t dropped = log_.tasks.first() - log_.cleared + log_.lost;
    append("<text x=\"{}\" y=\"24\" font-size=\"16\" font-weight=\"600\">{} {} in {}</text>\n", 16, executed,
           executed == 1 ? "task" : "tasks", duration_text(scale_.end - scale_.begin));
    append("<text x=\"{}\" y=\"44\" fill=\"#666\">{} {} in all", 16, log_.workers.size(),
           log_.workers.size() == 1 ? "worker" : "workers");
    if (alive > 0)
      append(", busy {:.0f} % of their time", 100.0 * static_cast<double>(busy) / static_cast<double>(alive));
    if (dropped != 0) append("; {} earlier tasks were dropped", dropped);
    append("</text>\n");
  }

  void draw_axis(double bottom) {
    const std::int64_t step = scale_.step();
    append("<g stroke=\"#e4e7eb\">\n");
    for (std::int64_t time = 0; time <= scale_.end - scale_.begin; time += step)
      append("<path d=\"M{0:.1f} {1}V{2}\"/>\n", scale_.x(scale_.begin + time), head, bottom + 4);
    append("</g>\n<g fill=\"#666\" text-anchor=\"middle\">\n");
    for (std::int64_t time = 0; time <= scale_.end - scale_.begin; time += step)
      append("<text x=\"{:.1f}\" y=\"{}\">{}</text>\n", scale_.x(scale_.begin + time), bottom + 18,
             time == 0 ? "0" : duration_text(time));
    append("</g>\n");
  }

  void draw_waiting() {
    const std::vector<std::uint64_t> waiting = waiting_tasks(log_, scale_);
    const std::uint64_t most = waiting.empty() ? 0 : *std::max_element(waiting.begin(), waiting.end());
    const double bottom = head + waiting_height - 4, height = waiting_height - 8;
    append("<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">waiting, up to {}</text>\n", left - 8, bottom - 8,
           most);
    if (most == 0) return;
    append("<path fill=\"#cfd6de\" d=\"M{} {}", left, bottom);
    std::uint64_t before = 0;
    for (std::size_t column = 0; column < waiting.size(); ++column) {
      if (waiting[column] == before) continue;
      before = waiting[column];
      append("H{}V{:.1f}", left + static_cast<double>(column),
             bottom - height * static_cast<double>(before) / static_cast<double>(most));
    }
    append("H{}V{}Z\"><title>tasks that wait: queued, or sent and not begun; at most {}</title></path>\n",
           left + plot_width, bottom, most);
  }

  void draw_workers(std::size_t lane) {
    const Lane& here = lanes_.all()[lane];
    const double top = top_of(lane);
    const bool several = log_.pools.size() > 1;
    std::string label = several ? fmt::format("pool {}, worker", here.pool + 1) : std::string("worker");
    const TracedWorker* const first = log_.workers.find(here.workers.front());
    const TracedWorker* const last = log_.workers.find(here.workers.back());
    if (here.workers.size() < 3)
      label += first == last ? fmt::format(" {}", first->id) : fmt::format("s {}, {}", first->id, last->id);
    else
      label += fmt::format("s {} … {}", first->id, last->id);
    append("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", left - 8, top + 13, label);
    for (const std::uint64_t number : here.workers) {
      const TracedWorker& worker = *log_.workers.find(number);
      const double begin = scale_.x(worker.forked_at);
      const double end = scale_.x(worker.ended_at != 0 ? worker.ended_at : scale_.end);
      append(
          "<rect x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" fill=\"#eef1f4\"><title>worker {}, pid {}: "
          "forked at {}",
          begin, top, std::max(end - begin, 0.5), bar, worker.id, worker.pid, since_begin(worker.forked_at));
      if (worker.started_at != 0) append(", started {} later", duration_text(worker.started_at - worker.forked_at));
      if (worker.ended_at != 0) append(", {} at {}", end_text(worker), since_begin(worker.ended_at));
      append("</title></rect>\n<path stroke=\"#98a2ad\" d=\"M{:.2f} {}v{}\"/>\n", begin, top - 2, bar + 4);
    }
  }

  void draw_tasks() {
    std::vector<std::vector<Column>> columns(lanes_.all().size(),
                                             std::vector<Column>(static_cast<std::size_t>(plot_width)));
    for (const TracedTask& task : log_.tasks)
      if (const auto lane = lanes_.of(task.worker); lane && static_cast<double>(task.ended_at - task.begun_at) < pixel_)
        columns[*lane][scale_.column((task.begun_at + task.ended_at) / 2)].add(task);
    for (std::size_t lane = 0; lane < columns.size(); ++lane) draw_columns(columns[lane], top_of(lane));
    for (const TracedTask& task : log_.tasks)
      if (const auto lane = lanes_.of(task.worker);
          lane && static_cast<double>(task.ended_at - task.begun_at) >= pixel_)
        draw_task(task, top_of(*lane));
  }

  void draw_columns(const std::vector<Column>& columns, double top) {
    for (std::size_t begin = 0, end = 0; begin < columns.size(); begin = end) {
      end = begin + 1;
      if (columns[begin].tasks == 0) continue;
      Column all = columns[begin];
      for (; end < columns.size() && columns[end].tasks != 0 && columns[end].looks_like(columns[begin], pixel_);
           ++end) {
        all.tasks += columns[end].tasks;
        all.failed += columns[end].failed;
        all.busy += columns[end].busy;
        all.longest = std::max(all.longest, columns[end].longest);
      }
      const double eighths = columns[begin].eighths(pixel_);
      append(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" fill-opacity=\"{}\"><title>{} {}, {} in "
          "all, the longest {}: {}",
          left + static_cast<double>(begin), top, end - begin, bar, legend_.colour(all.name, all.end),
          all.failed != 0 ? 1.0 : 0.2 + 0.1 * eighths, all.tasks, all.tasks == 1 ? "task" : "tasks",
          duration_text(all.busy), duration_text(all.longest), xml_text(log_.names[all.name]));
      if (all.failed != 0) append("; {} failed: {}", all.failed, describe(all.end));
      append("</title></rect>\n");
    }
  }

  void draw_task(const TracedTask& task, double top) {
    const double begin = scale_.x(task.begun_at), width = scale_.x(task.ended_at) - begin;
    const std::string name = xml_text(log_.names[task.name]);
    append(
        "<rect x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" rx=\"{}\" fill=\"{}\"><title>{}, task {}: {} in "
        "{}, begun at {}; it was queued for {} and then waited in the worker for {}; received after {}"
        "</title></rect>\n",
        begin, top, std::max(width - (width > 4 ? 0.6 : 0), 0.5), bar, width > 6 ? 2 : 0,
        legend_.colour(task.name, task.end), name, task.number, describe(task.end),
        duration_text(task.ended_at - task.begun_at), since_begin(task.begun_at),
        duration_text(task.sent_at - task.queued_at), duration_text(task.begun_at - task.sent_at),
        duration_text(task.received_at - task.ended_at));
    const double room = width - 8;
    if (static_cast<double>(log_.names[task.name].size()) * letter > room || name.empty()) return;
    append("<text x=\"{:.2f}\" y=\"{}\" fill=\"#fff\" pointer-events=\"none\">{}</text>\n", begin + 4, top + 13, name);
  }

  void draw_signal(const TracedSignal& signal) {
    const auto lane = lanes_.of(signal.worker);
    if (!lane) return;
    append("<path fill=\"#111\" d=\"M{:.2f} {}l-4 -6h8z\"><title>{} at {}</title></path>\n", scale_.x(signal.at),
           top_of(*lane) + 3, signal_text(signal.number), since_begin(signal.at));
  }

  void draw_end(std::uint64_t number) {
    const TracedWorker& worker = *log_.workers.find(number);
    const auto lane = lanes_.of(number);
    if (worker.ended_at == 0 || !lane || (worker.status_known && worker.status == 0)) return;
    append(
        "<path stroke=\"#d62728\" stroke-width=\"1.5\" d=\"M{0:.2f} {1}l7 7m0 -7l-7 7\"><title>worker {2}, pid {3}, "
        "{4} "
        "at {5}</title></path>\n",
        scale_.x(worker.ended_at) - 3.5, top_of(*lane) + bar / 2 - 3.5, worker.id, worker.pid, end_text(worker),
        since_begin(worker.ended_at));
  }

  struct Item {
    const char* colour;
    std::string text;
  };
  std::vector<Item> legend_items() const {
    std::vector<Item> items;
    const auto tasks = [](std::uint64_t count) { return fmt::format(" ({})", count); };
    for (const Legend::Entry& entry : legend_.functions) {
      // Cut by characters, not within one.
      std::string name = entry.name;
      if (name.size() > 60) {
        std::size_t end = 57;
        while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
        name = name.substr(0, end) + "...";
      }
      items.push_back({entry.colour, name + tasks(entry.tasks)});
    }
    for (std::size_t end = 1; end < task_ends; ++end)
      if (legend_.ends[end] != 0)
        items.push_back(
            {colour_of(static_cast<TaskEnd>(end)), describe(static_cast<TaskEnd>(end)) + tasks(legend_.ends[end])});
    return items;
  }
  /// Calls `place(item, x, row)`; returns how many rows there are.
  template <class Place>
  static std::size_t lay_out(const std::vector<Item>& items, Place place) {
    double x = left;
    std::size_t line = 0;
    for (const Item& item : items) {
      const double width = 32 + letter * static_cast<double>(item.text.size());
      if (x > left && x + width > page_width - right) {
        x = left;
        ++line;
      }
      place(item, x, line);
      x += width;
    }
    return line + 1;
  }
  double legend_height() const {
    return legend_row * static_cast<double>(lay_out(legend_items(), [](const Item&, double, std::size_t) {}));
  }
  void draw_legend(double top) {
    lay_out(legend_items(), [&](const Item& item, double x, std::size_t line) {
      const double y = top + legend_row * static_cast<double>(line);
      append(
          "<rect x=\"{:.1f}\" y=\"{}\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{}\"/><text x=\"{:.1f}\" y=\"{}\">{}"
          "</text>\n",
          x, y, item.colour, x + 16, y + 10, xml_text(item.text));
    });
  }

  const TraceLog& log_;
  const TimeScale scale_;
  const Lanes lanes_;
  const Legend legend_;
  double pixel_ = 1;
};

}  // namespace

void write_trace_svg(const TraceLog& log, std::ostream& out) { Picture(log, out).draw(); }

}  // namespace cofork::detail
