// The scheduler of a process pool: a queue, workers, and what travels between them. Typed code is above it.
#pragma once

#include <cofork/executors/fork_server.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/executors/pool_observer.hpp>
#include <cofork/executors/pool_worker.hpp>
#include <cofork/executors/respawn_brake.hpp>
#include <cofork/executors/work.hpp>
#include <cofork/executors/worker_death.hpp>
#include <cofork/runtime/context.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/poller.hpp>
#include <cofork/runtime/task.hpp>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace cofork::detail {

/// An idle worker that was told to leave, and does not, is killed.
inline constexpr std::chrono::seconds time_to_leave{2};

/// Shared by the pool and by every future and stream that it made; they outlive its end.
class PoolCore final : public RefCounted, private Poller, private LoopResource, private ForkServer::Events {
 public:
  explicit PoolCore(const PoolOptions& options);

  /// Writes the call with which every worker begins.
  using MakeInitializer = std::function<ipc::TaskSender::Function(ipc::TaskSender::Message&)>;
  void set_initializer(MakeInitializer make) { make_initializer_ = std::move(make); }

  /// Forks the template now, with an inheritance: the workers are copies of this process as it is at this moment. It is
  /// not forked again: if that fails, or the template dies, no worker can be started.
  void fork_snapshot(const Inheritance& inheritance);

  // For submit and map.

  /// Throws `InvalidStateError` after shutdown, `BrokenProcessPool` when broken; binds the pool to the current loop.
  void check_open();
  /// `function` as a number: that which the call runs, not just the code that decodes its arguments.
  FunctionStatistics& statistics(std::uint64_t function) { return statistics_[function]; }
  /// A worker that can take one more call of this function now, in its turn; null if it must be queued.
  PoolWorker* worker_for_now(const FunctionStatistics& expectation, int priority);
  /// Sends what was written into the worker's message. On an exception nothing was sent.
  void send(PoolWorker& worker, Filled filled);
  /// Puts an entry at the end of the queue of its priority, and sends what can be sent.
  void enqueue(QueueEntry& entry);
  void push_front(QueueEntry& entry);
  /// Takes an entry out of the queue, if it is in it.
  void remove(QueueEntry& entry) noexcept;
  void schedule();
  /// An item of the piece has ended: `complete` is called soon.
  void ended(IntrusivePtr<Piece> piece);
  List<OpenInput>& open_inputs() noexcept { return open_inputs_; }
  bool closing() const noexcept { return closing_; }

  // For futures and streams.

  bool executing(const Piece& piece) const;
  /// Takes back a piece that is in a worker, as far as it was not begun, for good; returns how many items of it were.
  std::uint32_t cancel_in_worker(Piece& piece);
  /// Stops the worker that executes an item of the piece; a coroutine is asked to end first. False if it does not (any
  /// more): the results are there then.
  bool stop(Piece& piece, StopReason reason);
  void count_cancelled(const Piece& piece, std::uint32_t first, std::uint32_t items) noexcept {
    stats_.cancelled += items;
    if (observer_) observer_->cancelled(piece, first, items);
  }
  void count_submitted(std::uint64_t tasks) noexcept { stats_.submitted += tasks; }

  /// Tells the futures of what has ended; this may run code of the user's.
  void complete_ended();

  // For who looks on.

  PoolObserver* observer() const noexcept { return observer_.get(); }
  void observe(std::shared_ptr<PoolObserver> observer) noexcept { observer_ = std::move(observer); }
  const std::string& name() const noexcept { return name_; }

  // For the pool itself.

  void prestart();
  /// How many workers there may be from now on.
  void resize(unsigned max_workers);
  /// No further work is accepted.
  void close(bool cancel_pending);
  void stop_workers(int signal);
  /// Kills everything at once and waits for that.
  void terminate() noexcept;
  Task<> closed();
  bool is_closed() const noexcept { return closed_; }
  PoolStats stats() const;
  std::vector<pid_t> worker_pids() const;
  unsigned max_workers() const noexcept { return max_workers_; }

 private:
  using Queue = std::map<int, List<QueueEntry>, std::greater<>>;

  // Poller
  bool poll() override;
  bool worth_spinning() const override;
  bool prepare_to_sleep() override;
  void awake() override;
  // LoopResource
  void loop_closing() noexcept override { terminate(); }
  // ForkServer::Events
  void worker_started(std::uint64_t id, pid_t pid) override;
  void worker_failed(std::uint64_t id, int error) override;
  void worker_exited(const WorkerExit& exit) override;
  void server_lost() override;

  // The queue.
  QueueEntry* front() noexcept;
  void drop_all(const std::exception_ptr& error) noexcept;
  bool send_next(PoolWorker& worker, QueueEntry& entry);

  // Choosing workers.
  unsigned workers_in_use() const noexcept;
  bool can_start_worker() const noexcept;
  bool has_room(PoolWorker& worker, const FunctionStatistics& expectation) const noexcept;
  PoolWorker* choose_worker(const FunctionStatistics& expectation);
  PoolWorker* choose_worker(const QueueEntry& entry);
  PoolWorker* fresh_worker();
  void make_way(int priority);
  void rebalance();
  bool give_half(PoolWorker& victim);

  // Workers.
  PoolWorker* start_worker();
  PoolWorker* find_worker(std::uint64_t id) noexcept;
  void send_initializer(PoolWorker& worker);
  void retire_if_used_up(PoolWorker& worker);
  void retire(PoolWorker& worker);
  void retire_if_too_large(PoolWorker& worker);
  void worker_idles(PoolWorker& worker);
  void retire_idle();
  void pause_starts(std::chrono::nanoseconds pause);
  void condemn(PoolWorker& worker, StopReason reason, std::chrono::nanoseconds grace);
  void ask_to_stop(PoolWorker& worker, StopReason reason, std::chrono::nanoseconds grace);
  void end_stop(PoolWorker& worker, Piece& piece, std::uint32_t item);
  void end_stopped_item(const PoolWorker& worker, Piece& piece, std::uint32_t item, StopReason reason);
  void take_back_all(PoolWorker& worker, bool keep_next = false);
  void take_back_items(PoolWorker& worker, InFlight& frame, std::uint32_t keep);
  void queue_again(const IntrusivePtr<Piece>& piece, const ipc::TaskSender::Sent& sent, std::uint32_t first,
                   std::uint32_t count);
  void signal(PoolWorker& worker, int signo);
  static void grace_over(Timer& timer) noexcept;
  void watch_deadline(PoolWorker& worker);
  void deadline_passed(PoolWorker& worker);
  void bury(PoolWorker& worker, const WorkerExit* exit);
  void end_executing_item(PoolWorker& worker, const WorkerExit* exit);
  void worker_proven(PoolWorker& worker);
  void start_failed(std::exception_ptr error);
  std::exception_ptr broken() const;
  TaskUsage usage_of(const PoolWorker& worker, std::int64_t submitted_at, const ipc::ItemUsage& usage) const;

  // Results.
  bool drain(PoolWorker& worker);
  void drain_or_condemn(PoolWorker& worker, bool& any);
  void take_result(PoolWorker& worker, const ipc::TaskSender::Result& result);

  std::uint64_t ring_at(PoolWorker& worker) const;
  void start_nap();
  void end_nap();

  void bind();
  void watch_outstanding();
  void finish_closing();
  bool has_outstanding() const noexcept;

  const unsigned parallelism_;
  unsigned max_workers_;
  const unsigned max_tasks_per_child_;
  const std::size_t max_rss_per_child_;
  const std::chrono::nanoseconds idle_timeout_;
  const StartMethod start_method_;
  const bool capture_stderr_;
  const std::chrono::nanoseconds grace_;
  const std::string name_;
  MakeInitializer make_initializer_;

  Origin origin_;
  Loop* loop_ = nullptr;
  std::unique_ptr<ForkServer> server_;
  std::exception_ptr no_other_server_;  // why there will be none after this one
  std::list<PoolWorker> workers_;
  Queue queue_;
  std::unordered_map<std::uint64_t, FunctionStatistics> statistics_;
  List<OpenInput> open_inputs_;
  std::vector<IntrusivePtr<Piece>> ended_;
  List<Waiter> waiting_for_end_;
  std::uint64_t next_worker_id_ = 1;
  unsigned failed_starts_ = 0;  // since the last worker that proved itself
  std::exception_ptr first_failure_;
  RespawnBrake brake_;
  bool broken_ = false;
  bool closing_ = false;   // no further work is accepted
  bool stopping_ = false;  // and what was accepted is cancelled
  bool closed_ = false;
  bool scheduling_ = false;
  int lowest_priority_ = std::numeric_limits<int>::max();  // of all that was ever sent to a worker
  PoolStats stats_;
  std::shared_ptr<PoolObserver> observer_;
  OutOfMemoryKills out_of_memory_kills_;

  struct PoolTimer : Timer {
    PoolCore* core = nullptr;
  };
  PoolTimer nap_;    // results may be waiting that nobody rang for, or tasks behind one that takes long
  PoolTimer retry_;  // before the next worker is started after a failure
  Clock::time_point retry_at_;
  PoolTimer idle_;  // until a worker has been idle for too long
  PoolTimer tidy_;  // gives back memory that large messages left
};

}  // namespace cofork::detail
