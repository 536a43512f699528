#include <algorithm>
#include <cofork/executors/fork_server.hpp>
#include <cofork/executors/trace_log.hpp>
#include <new>
#include <utility>

namespace cofork::detail {

namespace {
// Of different names; further ones count as one.
constexpr std::size_t most_names = 1 << 16;
}  // namespace

const char* describe(TaskEnd end) {
  switch (end) {
    case TaskEnd::returned:
      return "returned";
    case TaskEnd::threw:
      return "threw";
    case TaskEnd::died:
      return "its worker died";
    case TaskEnd::timed_out:
      return "timed out";
    case TaskEnd::cancelled:
      return "cancelled";
  }
  return "";
}

std::uint32_t TraceLog::intern(const std::string& name) {
  if (const auto known = name_numbers_.find(name); known != name_numbers_.end()) return known->second;
  if (names.size() > most_names) return static_cast<std::uint32_t>(names.size() - 1);
  names.push_back(names.size() < most_names ? name : "(others)");
  const auto number = static_cast<std::uint32_t>(names.size() - 1);
  name_numbers_.emplace(names.back(), number);
  return number;
}

void TraceLog::clear() noexcept {
  tasks.clear();
  cleared = tasks.first();
  lost = 0;
  workers.clear();
  since = now();
  signals.clear();
}

template <class Record>
void PoolTrace::attempt(Record record) noexcept {
  if (!log_->recording) return;
  try {
    record();
  } catch (const std::exception&) {
    ++log_->lost;
  }
}

PoolTrace::Live& PoolTrace::live(PoolWorker& worker) {
  const auto known = live_.find(worker.id);
  if (known != live_.end() && log_->workers.find(known->second.number)) return known->second;
  const std::uint64_t number = log_->workers.push({pool_, worker.id, worker.pid, since(), 0, 0, 0, false});
  if (known == live_.end()) return live_.emplace(worker.id, Live{number}).first->second;
  // Its entry had to give way.
  known->second.number = number;
  return known->second;
}

void PoolTrace::number(Piece& piece, std::uint32_t items) noexcept {
  if (piece.marks.number != 0) return;
  piece.marks.number = log_->next_number;
  log_->next_number += items;
}

std::uint32_t PoolTrace::name_of(const Piece& piece) {
  if (const std::string* own = piece.own_name()) return log_->intern(*own);
  // Its statistics do not stay where they are.
  if (piece.belongs_to_worker()) return log_->intern(piece.name());
  // A function's name is slow to find out.
  const auto known = function_names_.find(piece.statistics);
  if (known != function_names_.end()) return known->second;
  const std::uint32_t name = log_->intern(piece.name());
  function_names_.emplace(piece.statistics, name);
  return name;
}

void PoolTrace::queued(Piece& piece, std::uint32_t items) noexcept {
  if (!log_->recording) return;
  number(piece, items);
  piece.marks.queued_at = TraceLog::now();
}

void PoolTrace::sent(PoolWorker&, Piece& piece, std::uint32_t items) noexcept {
  if (!log_->recording) return;
  const std::int64_t now = TraceLog::now();
  // The items of a map are in no queue before.
  if (piece.marks.number == 0) piece.marks.queued_at = now;
  number(piece, items);
  piece.marks.sent_at = now;
}

void PoolTrace::cancelled(const Piece& piece, std::uint32_t first, std::uint32_t items) noexcept {
  attempt([&] {
    const std::int64_t now = TraceLog::now();
    const std::int64_t queued_at = piece.marks.queued_at != 0 ? piece.marks.queued_at : now;
    const std::uint64_t number = piece.marks.number != 0 ? piece.marks.number + first : 0;
    log_->tasks.push(
        {number, TracedTask::nobody, queued_at, 0, 0, now, now, name_of(piece), pool_, items, TaskEnd::cancelled});
  });
}

void PoolTrace::received(PoolWorker& worker, const InFlight& frame, std::uint32_t item,
                         const ipc::TaskSender::Result& result) noexcept {
  attempt([&] {
    Live& owner = live(worker);
    if (owner.frame != frame.frame) {
      date(owner, worker.sender);
      owner.frame = frame.frame;
    }
    Piece& piece = *frame.piece;
    const std::int64_t now = TraceLog::now();
    // It was sent before the pool had an observer.
    if (piece.marks.number == 0) {
      number(piece, frame.limit);
      piece.marks.queued_at = piece.marks.sent_at = since();
    }
    const Piece::Marks& marks = piece.marks;
    const std::int64_t wall = std::clamp<std::int64_t>(result.usage.wall, 0, now);
    const std::int64_t begun_at = std::max(now - wall, marks.sent_at);
    const TaskEnd end = result.kind == ipc::ResultFrame::value ? TaskEnd::returned : TaskEnd::threw;
    const std::uint64_t entry = log_->tasks.push({marks.number + item, owner.number, marks.queued_at, marks.sent_at,
                                                  begun_at, now, now, name_of(piece), pool_, 1, end});
    owner.undated.push_back({entry, wall});
    if (frame.results == frame.limit) date(owner, worker.sender);
  });
}

void PoolTrace::date(Live& worker, const ipc::TaskSender& sender) noexcept {
  if (worker.frame == no_frame) return;
  if (!worker.undated.empty()) {
    const std::int64_t last_began = std::clamp<std::int64_t>(sender.begun_at(worker.frame), 0, TraceLog::now());
    date_until(worker, last_began + worker.undated.back().wall);
  }
  worker.frame = no_frame;
}

/// From the last back to the first, which ended at `end`.
void PoolTrace::date_until(Live& worker, std::int64_t end) noexcept {
  for (auto entry = worker.undated.rbegin(); entry != worker.undated.rend(); ++entry) {
    TracedTask* const task = log_->tasks.find(entry->number);
    if (!task) break;
    // What the worker says can be wrong; and it counts the time since the task before, when there may have been none.
    const std::int64_t begin = std::clamp<std::int64_t>(end - entry->wall, 0, task->received_at - entry->wall);
    task->begun_at = std::max(begin, task->sent_at);
    task->ended_at = std::max(begin + entry->wall, task->begun_at);
    end = begin;
  }
  worker.undated.clear();
}

void PoolTrace::lost(PoolWorker& worker, const InFlight& frame, std::uint32_t item) noexcept {
  attempt([&] {
    Live& owner = live(worker);
    if (owner.frame != frame.frame) date(owner, worker.sender);
    Piece& piece = *frame.piece;
    const std::int64_t now = TraceLog::now();
    if (piece.marks.number == 0) number(piece, frame.limit);
    const Piece::Marks& marks = piece.marks;
    const std::int64_t sent_at = marks.sent_at != 0 ? marks.sent_at : since();
    const std::int64_t queued_at = marks.queued_at != 0 ? marks.queued_at : sent_at;
    const std::int64_t begun_at = std::clamp(worker.sender.begun_at(frame.frame), sent_at, now);
    // Those that were sent together with it ended before it began.
    if (owner.frame == frame.frame) date_until(owner, begun_at);
    TaskEnd end = TaskEnd::died;
    if (worker.stop_reason == StopReason::timeout) end = TaskEnd::timed_out;
    if (worker.stop_reason == StopReason::cancelled) end = TaskEnd::cancelled;
    log_->tasks.push(
        {marks.number + item, owner.number, queued_at, sent_at, begun_at, now, now, name_of(piece), pool_, 1, end});
  });
}

void PoolTrace::forking(PoolWorker& worker) noexcept {
  attempt([&] {
    if (TracedWorker* const entry = log_->workers.find(live(worker).number)) entry->forked_at = TraceLog::now();
  });
}

void PoolTrace::started(PoolWorker& worker) noexcept {
  attempt([&] {
    TracedWorker* const entry = log_->workers.find(live(worker).number);
    if (!entry) return;
    entry->pid = worker.pid;
    entry->started_at = TraceLog::now();
  });
}

void PoolTrace::signalled(PoolWorker& worker, int signal) noexcept {
  attempt([&] { log_->signals.push({live(worker).number, TraceLog::now(), signal}); });
}

void PoolTrace::ended(PoolWorker& worker, const WorkerExit* exit) noexcept {
  attempt([&] {
    Live& owner = live(worker);
    date(owner, worker.sender);
    if (TracedWorker* const entry = log_->workers.find(owner.number)) {
      entry->ended_at = TraceLog::now();
      entry->status_known = exit && exit->status_known;
      if (entry->status_known) entry->status = exit->status;
    }
  });
  live_.erase(worker.id);
}

}  // namespace cofork::detail
