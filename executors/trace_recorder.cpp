#include <fmt/format.h>

#include <cerrno>
#include <cofork/executors/trace_log.hpp>
#include <cofork/executors/trace_recorder.hpp>
#include <cofork/executors/trace_text.hpp>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace cofork {

namespace {

std::size_t checked(std::size_t most) {
  if (most == 0) throw std::invalid_argument("TraceOptions::max_tasks is 0");
  return most;
}

using Write = void (*)(const detail::TraceLog&, std::ostream&);

void write_file(const detail::TraceLog& log, Write write, const std::filesystem::path& path) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (file) write(log, file);
  file.close();
  if (!file) {
    const int error = errno != 0 ? errno : EIO;
    throw std::system_error(error, std::generic_category(), "writing the trace " + path.string());
  }
}

std::string in_memory(const detail::TraceLog& log, Write write) {
  std::ostringstream out;
  write(log, out);
  return std::move(out).str();
}

}  // namespace

TraceRecorder::TraceRecorder(TraceOptions options)
    : log_(std::make_shared<detail::TraceLog>(checked(options.max_tasks))) {}

TraceRecorder::~TraceRecorder() {
  log_->recording = false;
  log_->clear();
}

void TraceRecorder::attach(ProcessPoolExecutor& pool) {
  if (std::this_thread::get_id() != thread_)
    throw std::logic_error("TraceRecorder::attach: another thread than that which made the recorder");
  const auto* const trace = static_cast<const detail::PoolTrace*>(pool.core_->observer());
  if (trace && trace->log()->recording)
    throw std::logic_error("TraceRecorder::attach: the pool has a recorder already");
  log_->pools.push_back(pool.core_->name());
  pool.core_->observe(std::make_shared<detail::PoolTrace>(log_, static_cast<std::uint32_t>(log_->pools.size() - 1)));
}

std::uint64_t TraceRecorder::tasks() const noexcept { return log_->tasks.first() + log_->tasks.size() - log_->cleared; }
std::uint64_t TraceRecorder::dropped() const noexcept { return log_->tasks.first() - log_->cleared + log_->lost; }
void TraceRecorder::clear() noexcept { log_->clear(); }

std::string TraceRecorder::json() const { return in_memory(*log_, detail::write_trace_json); }
void TraceRecorder::write_json(std::ostream& out) const { detail::write_trace_json(*log_, out); }
void TraceRecorder::write_json(const std::filesystem::path& path) const {
  write_file(*log_, detail::write_trace_json, path);
}

std::string TraceRecorder::svg() const { return in_memory(*log_, detail::write_trace_svg); }
void TraceRecorder::write_svg(std::ostream& out) const { detail::write_trace_svg(*log_, out); }
void TraceRecorder::write_svg(const std::filesystem::path& path) const {
  write_file(*log_, detail::write_trace_svg, path);
}

}  // namespace cofork
