// The lives of a pool's workers: started, used up, dead. How they are stopped: pool_stopping.cpp.
#include <algorithm>
#include <cofork/executors/early_fork_server.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/executors/pool_nesting.hpp>
#include <cofork/executors/worker_main.hpp>
#include <cofork/runtime/errors.hpp>
#include <csignal>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {

// Workers that fail to start, one after the other, before the pool is given up.
constexpr unsigned most_failed_starts = 4;
constexpr std::chrono::milliseconds pause_after_failure{20};
// So many workers may die one after the other when a task was the next that they would have begun.
constexpr unsigned most_lost_starts = 20;

/// The call with which a worker begins.
class Initializer final : public RefCounted, public Piece {
 public:
  explicit Initializer(PoolWorker& owner) : worker_(owner) { statistics = &own_statistics_; }
  void add_reference() noexcept override { RefCounted::add_reference(); }
  void drop_reference() noexcept override { RefCounted::drop_reference(); }

  void value(std::uint32_t, ipc::Reader&) override {}
  void failed(std::uint32_t, std::exception_ptr error) noexcept override { worker_.start_error = std::move(error); }
  void cancelled(std::uint32_t) noexcept override {}
  bool urgent() const noexcept override { return true; }
  std::string name() const override { return "the pool's initializer"; }
  IntrusivePtr<Piece> split(std::uint32_t, std::uint32_t) override { return {}; }
  bool belongs_to_worker() const noexcept override { return true; }

 private:
  PoolWorker& worker_;
  FunctionStatistics own_statistics_;
};

}  // namespace

PoolWorker* PoolCore::find_worker(std::uint64_t id) noexcept {
  const auto worker = std::find_if(workers_.begin(), workers_.end(), [&](PoolWorker& w) { return w.id == id; });
  return worker != workers_.end() ? &*worker : nullptr;
}

void PoolCore::fork_snapshot(const Inheritance& inheritance) {
  bind();
  no_other_server_ = std::make_exception_ptr(Error("the process that held the snapshot died"));
  try {
    server_ = std::make_unique<ForkServer>(loop_->uv(), static_cast<ForkServer::Events&>(*this), &worker_main, name_,
                                           inheritance);
  } catch (...) {
    no_other_server_ = std::current_exception();
  }
}

PoolWorker* PoolCore::start_worker() {
  PoolWorker* worker = nullptr;
  try {
    if (!server_ && no_other_server_) std::rethrow_exception(no_other_server_);
    if (!server_)
      server_ = std::make_unique<ForkServer>(loop_->uv(), static_cast<ForkServer::Events&>(*this), &worker_main, name_,
                                             start_method_);
    worker = &workers_.emplace_back(*this, next_worker_id_++);
    if (observer_) observer_->forking(*worker);
    worker->doorbell =
        DescriptorWatch(loop_->uv(), worker->sender.doorbell(), [worker] { worker->sender.clear_doorbell(); });
    worker->sender.introduce(
        {worker->id, max_rss_per_child_, pool_depth() + 1, std::max(1u, parallelism_ / max_workers_)});
    if (make_initializer_) send_initializer(*worker);
    server_->start(worker->id, worker->sender.worker_descriptors(), capture_stderr_);
    worker->sender.worker_has_them();
    ++stats_.workers_started;
    return worker;
  } catch (...) {
    if (worker && observer_) observer_->ended(*worker, nullptr);
    if (worker) workers_.remove_if([&](PoolWorker& w) { return &w == worker; });
    start_failed(std::current_exception());
    return nullptr;
  }
}

void PoolCore::send_initializer(PoolWorker& worker) {
  const ipc::TaskSender::Function function = make_initializer_(worker.sender.begin_frame());
  send(worker, {make_intrusive<Initializer>(worker), function, 1, ipc::TaskFrame::initializer, 0});
}

void PoolCore::worker_started(std::uint64_t id, pid_t pid) {
  PoolWorker* worker = find_worker(id);
  if (!worker) return;
  worker->pid = pid;
  if (observer_) observer_->started(*worker);
  if (!make_initializer_) worker_proven(*worker);
  if (worker->idle()) worker_idles(*worker);
  if (worker->signal_when_started != 0) server_->signal(id, worker->signal_when_started);
}

void PoolCore::worker_failed(std::uint64_t id, int error) {
  const IntrusivePtr<PoolCore> alive(this);
  if (PoolWorker* worker = find_worker(id)) bury(*worker, nullptr);
  start_failed(std::make_exception_ptr(std::system_error(error, std::generic_category(), "forking a worker")));
  schedule();
  complete_ended();
}

void PoolCore::worker_exited(const WorkerExit& exit) {
  const IntrusivePtr<PoolCore> alive(this);
  PoolWorker* worker = find_worker(exit.id);
  if (!worker) return;
  bool any = false;
  drain_or_condemn(*worker, any);
  std::exception_ptr start_error;
  if (!worker->proven && worker->stop_reason == StopReason::none) {
    start_error = worker->start_error;
    if (!start_error && worker->current()) {
      start_error = worker_died(exit.pid, &exit, "the pool's initializer", {},
                                read_crash(worker->sender.crash_record()), out_of_memory_kills_.rose(), std::nullopt);
    }
  }
  bury(*worker, &exit);
  if (start_error) start_failed(start_error);
  schedule();
  complete_ended();
}

void PoolCore::server_lost() {
  const IntrusivePtr<PoolCore> alive(this);
  // Those that were asked for and never answered; the others were reported before.
  const bool unanswered = !workers_.empty();
  while (!workers_.empty()) bury(workers_.front(), nullptr);
  server_.reset();
  const bool no_other = start_method_ == StartMethod::forkserver && !fork_server::running();
  if (unanswered)
    start_failed(
        std::make_exception_ptr(Error(no_other ? fork_server_has_ended : "the process that forks the workers died")));
  schedule();
  complete_ended();
}

void PoolCore::worker_proven(PoolWorker& worker) {
  worker.proven = true;
  if (worker.has_more()) start_nap();  // which did not go on for it before
  if (broken_) return;
  failed_starts_ = 0;
  first_failure_ = nullptr;
}

void PoolCore::start_failed(std::exception_ptr error) {
  if (!first_failure_) first_failure_ = std::move(error);
  ++failed_starts_;
  const bool others = std::any_of(workers_.begin(), workers_.end(),
                                  [](const PoolWorker& worker) { return worker.proven && !worker.condemned; });
  if (failed_starts_ >= most_failed_starts && !others) {
    broken_ = true;
    drop_all(broken());
    return;
  }
  pause_starts(pause_after_failure);
}

std::exception_ptr PoolCore::broken() const {
  try {
    try {
      std::rethrow_exception(first_failure_);
    } catch (const std::exception& first) {
      std::throw_with_nested(BrokenProcessPool(std::string("no worker of the pool can be started: ") + first.what()));
    } catch (...) {
      std::throw_with_nested(BrokenProcessPool("no worker of the pool can be started"));
    }
  } catch (...) {
    return std::current_exception();
  }
}

void PoolCore::retire_if_used_up(PoolWorker& worker) {
  const bool used_up = max_tasks_per_child_ != 0 && worker.tasks_sent >= max_tasks_per_child_;
  if (worker.retiring || (!used_up && !worker.dedicated)) return;
  worker.retiring = true;
  worker.sender.tell_to_leave();
}

// The end of a worker.

void PoolCore::bury(PoolWorker& worker, const WorkerExit* exit) {
  worker.condemned = true;
  try {
    drain(worker);
  } catch (const DecodeError&) {
    // It broke the protocol and is gone: what it has not given is lost with it.
  }
  // What says that it has not been begun, and comes to be next in one dying worker after the other, counts as begun.
  // (Without `exit` there was no worker: none could be forked.)
  const InFlight* const next = worker.current();
  const bool suspect = exit && next && worker.stop_reason == StopReason::none && !next->piece->belongs_to_worker() &&
                       !worker.executing() && ++next->piece->lost_starts >= most_lost_starts;
  take_back_all(worker, suspect || worker.broke_protocol);
  end_executing_item(worker, exit);
  const bool asked_to_leave = worker.retiring && exit && exit_code(exit) == 0;
  if (worker.stop_reason == StopReason::none && !asked_to_leave) {
    ++stats_.workers_died;
    if (const auto pause = brake_.died(Clock::now()); pause.count() > 0 && !closed_) pause_starts(pause);
  }
  for (InFlight& frame : worker.in_flight)
    if (frame.piece && frame.piece->in_worker == &worker) frame.piece->in_worker = nullptr;
  if (observer_) observer_->ended(worker, exit);
  workers_.remove_if([&](PoolWorker& w) { return &w == &worker; });
  watch_outstanding();
}

void PoolCore::end_executing_item(PoolWorker& worker, const WorkerExit* exit) {
  const bool killed = worker.stop_reason == StopReason::none && exit_code(exit) == -SIGKILL;
  const bool out_of_memory = killed && out_of_memory_kills_.rose();
  const std::int64_t now = Clock::now().time_since_epoch().count();
  // One at most; more only where the worker lied about what it began.
  for (auto frame = worker.in_flight.rbegin(); frame != worker.in_flight.rend(); ++frame) {
    for (std::uint32_t item = frame->limit; item-- > frame->results;) {
      Piece& piece = *frame->piece;
      ended(frame->piece);
      if (observer_) observer_->lost(worker, *frame, item);
      if (piece.belongs_to_worker()) continue;
      std::optional<TaskUsage> usage;
      if (exit && exit->status_known) {
        const bool current = &*frame == worker.current() && item == frame->results;
        const std::int64_t begun_at = current ? worker.begun_at(now) : now;
        usage = usage_at_end(*exit, worker.sender, piece.submitted_at, begun_at, now);
        piece.used(item, *usage);
      }
      if (worker.stop_reason != StopReason::none) {
        end_stopped_item(worker, piece, item, worker.stop_reason);
        continue;
      }
      if (piece.limits.retries > 0 && !stopping_) {
        ended_.pop_back();
        const IntrusivePtr<Piece> again = piece.split(item, 1);
        --again->limits.retries;
        again->in_worker = nullptr;
        queue_again(again, worker.sender.sent(frame->frame), item, 1);
        continue;
      }
      if (worker.broke_protocol) {
        piece.failed(item, worker.broke_protocol);
        ++stats_.failed;
        continue;
      }
      const Crash crash = read_crash(worker.sender.crash_record());
      piece.failed(item,
                   worker_died(worker.pid, exit, piece.name(), piece.limits.resources, crash, out_of_memory, usage));
      ++stats_.failed;
    }
    frame->limit = frame->results;
  }
}

}  // namespace cofork::detail
