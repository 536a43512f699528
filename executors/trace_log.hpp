// What a TraceRecorder has recorded: tasks, workers and signals, within bounds.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <cofork/executors/pool_observer.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cofork::detail {

/// The latest entries, with numbers that stay theirs. The older ones give way.
template <class T>
class BoundedLog {
 public:
  explicit BoundedLog(std::size_t most) : most_(most) {}

  std::uint64_t push(T entry) {
    entries_.push_back(std::move(entry));
    if (entries_.size() > most_) {
      entries_.pop_front();
      ++first_;
    }
    return first_ + entries_.size() - 1;
  }
  /// Null if it had to give way.
  T* find(std::uint64_t number) noexcept {
    return number >= first_ && number - first_ < entries_.size() ? &entries_[static_cast<std::size_t>(number - first_)]
                                                                 : nullptr;
  }
  const T* find(std::uint64_t number) const noexcept { return const_cast<BoundedLog*>(this)->find(number); }
  void clear() noexcept {
    first_ += entries_.size();
    std::deque<T>().swap(entries_);
  }

  std::uint64_t first() const noexcept { return first_; }
  std::size_t size() const noexcept { return entries_.size(); }
  auto begin() const noexcept { return entries_.begin(); }
  auto end() const noexcept { return entries_.end(); }

 private:
  const std::size_t most_;
  std::deque<T> entries_;
  std::uint64_t first_ = 0;
};

enum class TaskEnd : std::uint8_t { returned, threw, died, timed_out, cancelled };
inline constexpr std::size_t task_ends = 5;
const char* describe(TaskEnd end);

/// One execution of a task, or a task that was cancelled before there was one. Times are of the monotonic clock, in
/// nanoseconds; 0: never.
struct TracedTask {
  static constexpr std::uint64_t nobody = ~std::uint64_t{0};

  std::uint64_t number;
  std::uint64_t worker;  ///< its number in the log, or `nobody`
  std::int64_t queued_at, sent_at, begun_at, ended_at;
  std::int64_t received_at;  ///< when the parent knew
  std::uint32_t name;
  std::uint32_t pool;
  std::uint32_t together;  ///< so many tasks were cancelled at once, this the first of them
  TaskEnd end;
};

struct TracedWorker {
  std::uint32_t pool;
  std::uint64_t id;  ///< in its pool, from 1
  pid_t pid;         ///< 0: not known
  std::int64_t forked_at, started_at, ended_at;
  int status;  ///< as waitpid gives it
  bool status_known;
};

struct TracedSignal {
  std::uint64_t worker;
  std::int64_t at;
  int number;
};

/// Shared by the recorder and the observers of its pools, all on one thread.
class TraceLog {
 public:
  explicit TraceLog(std::size_t most) : tasks(most), workers(most), signals(most) {}

  static std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }
  std::uint32_t intern(const std::string& name);
  void clear() noexcept;

  /// False: the recorder is gone, nothing is recorded any more.
  bool recording = true;
  std::int64_t origin = now();
  /// When it was cleared.
  std::int64_t since = 0;
  BoundedLog<TracedTask> tasks;
  BoundedLog<TracedWorker> workers;
  BoundedLog<TracedSignal> signals;
  std::vector<std::string> names;
  std::vector<std::string> pools;
  std::uint64_t next_number = 1;
  /// For want of memory.
  std::uint64_t lost = 0;
  /// The tasks' first number after `clear`.
  std::uint64_t cleared = 0;

 private:
  std::unordered_map<std::string, std::uint32_t> name_numbers_;
};

/// Writes down what one pool does.
class PoolTrace final : public PoolObserver {
 public:
  PoolTrace(std::shared_ptr<TraceLog> log, std::uint32_t pool) : log_(std::move(log)), pool_(pool) {}
  PoolTrace(const PoolTrace&) = delete;

  void queued(Piece& piece, std::uint32_t items) noexcept override;
  void cancelled(const Piece& piece, std::uint32_t first, std::uint32_t items) noexcept override;
  void sent(PoolWorker& worker, Piece& piece, std::uint32_t items) noexcept override;
  void received(PoolWorker& worker, const InFlight& frame, std::uint32_t item,
                const ipc::TaskSender::Result& result) noexcept override;
  void lost(PoolWorker& worker, const InFlight& frame, std::uint32_t item) noexcept override;
  void forking(PoolWorker& worker) noexcept override;
  void started(PoolWorker& worker) noexcept override;
  void signalled(PoolWorker& worker, int signal) noexcept override;
  void ended(PoolWorker& worker, const WorkerExit* exit) noexcept override;

  const std::shared_ptr<TraceLog>& log() const noexcept { return log_; }

 private:
  static constexpr std::uint64_t no_frame = ~std::uint64_t{0};

  /// A worker that is alive. While a worker goes on with a frame, when it began the items before is not known: the
  /// frame's claim tells of the last one, and each began when the one before it ended.
  struct Live {
    std::uint64_t number;
    std::uint64_t frame = no_frame;
    struct Undated {
      std::uint64_t number;
      std::int64_t wall;
    };
    std::vector<Undated> undated{};
  };

  /// What began before there was a recorder, or before it was cleared, began then.
  std::int64_t since() const noexcept { return std::max(attached_at_, log_->since); }
  Live& live(PoolWorker& worker);
  void number(Piece& piece, std::uint32_t items) noexcept;
  void date(Live& worker, const ipc::TaskSender& sender) noexcept;
  void date_until(Live& worker, std::int64_t end) noexcept;
  std::uint32_t name_of(const Piece& piece);
  template <class Record>
  void attempt(Record record) noexcept;

  const std::shared_ptr<TraceLog> log_;
  const std::uint32_t pool_;
  const std::int64_t attached_at_ = TraceLog::now();
  std::unordered_map<std::uint64_t, Live> live_;
  std::unordered_map<const FunctionStatistics*, std::uint32_t> function_names_;
};

}  // namespace cofork::detail
