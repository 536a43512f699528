// A trace in the Trace Event Format: a process for each pool, a thread for each worker, times in microseconds.
#include <fmt/format.h>
#include <unistd.h>

#include <cofork/executors/trace_output.hpp>
#include <cofork/executors/trace_text.hpp>
#include <iterator>
#include <ostream>
#include <utility>

namespace cofork::detail {

namespace {

class Events : private TraceOutput {
 public:
  Events(const TraceLog& log, std::ostream& out) : TraceOutput(out), log_(log) { names_.reserve(log.names.size()); }

  void write() {
    for (const std::string& name : log_.names) names_.push_back(json_text(name));
    append(
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"producer\":\"cofork\",\"dropped\":\"{}\"}},\"traceEvents\":[",
        log_.tasks.first() - log_.cleared + log_.lost);
    for (std::uint32_t pool = 0; pool < log_.pools.size(); ++pool) name_pool(pool);
    for (std::uint64_t number = log_.workers.first(); const TracedWorker& worker : log_.workers)
      add_worker(number++, worker);
    for (const TracedSignal& signal : log_.signals) add_signal(signal);
    for (const TracedTask& task : log_.tasks) add_task(task);
    append("\n]}}\n");
    flush();
  }

 private:
  /// A line of its own for each event; the caller writes its end.
  template <class... A>
  void begin(const char* phase, std::uint32_t pool, std::uint64_t thread, fmt::format_string<A...> format,
             A&&... arguments) {
    append("{}\n{{\"ph\":\"{}\",\"pid\":{},\"tid\":{}", std::exchange(separator_, ","), phase, pool + 1, thread);
    append(format, std::forward<A>(arguments)...);
  }
  std::string at(std::int64_t time) const {
    const std::int64_t nanoseconds = std::max<std::int64_t>(time - log_.origin, 0);
    return fmt::format(",\"ts\":{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
  }
  // Thread 0 is the parent.
  static std::uint64_t thread_of(std::uint64_t worker) { return worker + 1; }

  void name_pool(std::uint32_t pool) {
    begin("M", pool, 0, ",\"name\":\"process_name\",\"args\":{{\"name\":\"{} (pool {} of process {})\"}}}}",
          json_text(log_.pools[pool]), pool + 1, ::getpid());
    begin("M", pool, 0, ",\"name\":\"thread_name\",\"args\":{{\"name\":\"parent\"}}}}");
  }

  void add_worker(std::uint64_t number, const TracedWorker& worker) {
    const std::uint64_t thread = thread_of(number);
    begin("M", worker.pool, thread, ",\"name\":\"thread_name\",\"args\":{{\"name\":\"worker {} (pid {})\"}}}}",
          worker.id, worker.pid);
    begin("M", worker.pool, thread, ",\"name\":\"thread_sort_index\",\"args\":{{\"sort_index\":{}}}}}", thread);
    const auto instant = [&](const char* name, std::int64_t time) {
      if (time == 0) return false;
      begin("i", worker.pool, thread, ",\"s\":\"t\",\"cat\":\"worker\",\"name\":\"{}\"{},\"args\":{{\"pid\":{}", name,
            at(time), worker.pid);
      return true;
    };
    if (instant("forked", worker.forked_at)) append("}}}}");
    if (instant("started", worker.started_at)) append("}}}}");
    if (instant("ended", worker.ended_at)) append(",\"how\":\"{}\"}}}}", json_text(end_text(worker)));
  }

  void add_signal(const TracedSignal& signal) {
    const TracedWorker* const worker = log_.workers.find(signal.worker);
    if (!worker) return;
    begin("i", worker->pool, thread_of(signal.worker),
          ",\"s\":\"t\",\"cat\":\"worker\",\"name\":\"killed\"{},\"args\":{{\"signal\":\"{}\"}}}}", at(signal.at),
          signal_text(signal.number));
  }

  void add_phase(const TracedTask& task, const char* name, std::int64_t from, std::int64_t to) {
    begin("b", task.pool, 0, ",\"cat\":\"task\",\"id\":{},\"name\":\"{}\"{},\"args\":{{\"task\":\"{}\"}}}}",
          task.number, name, at(from), names_[task.name]);
    begin("e", task.pool, 0, ",\"cat\":\"task\",\"id\":{},\"name\":\"{}\"{}}}", task.number, name, at(to));
  }

  void add_task(const TracedTask& task) {
    if (task.worker == TracedTask::nobody) {
      add_phase(task, "queued", task.queued_at, task.ended_at);
      begin("i", task.pool, 0,
            ",\"s\":\"t\",\"cat\":\"task\",\"name\":\"cancelled\"{},\"args\":{{\"task\":\"{}\",\"number\":{},"
            "\"tasks\":{}}}}}",
            at(task.ended_at), names_[task.name], task.number, task.together);
      return;
    }
    add_phase(task, "queued", task.queued_at, task.sent_at);
    add_phase(task, "sent", task.sent_at, task.begun_at);
    begin("X", task.pool, thread_of(task.worker),
          ",\"cat\":\"running\",\"name\":\"{}\"{},\"dur\":{}.{:03},\"args\":{{\"number\":{},\"end\":\"{}\"}}}}",
          names_[task.name], at(task.begun_at), (task.ended_at - task.begun_at) / 1000,
          (task.ended_at - task.begun_at) % 1000, task.number, describe(task.end));
    begin("i", task.pool, 0,
          ",\"s\":\"t\",\"cat\":\"task\",\"name\":\"received\"{},\"args\":{{\"task\":\"{}\",\"number\":{}}}}}",
          at(task.received_at), names_[task.name], task.number);
  }

  const TraceLog& log_;
  std::vector<std::string> names_;
  const char* separator_ = "";
};

}  // namespace

void write_trace_json(const TraceLog& log, std::ostream& out) { Events(log, out).write(); }

}  // namespace cofork::detail
