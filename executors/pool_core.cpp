#include <algorithm>
#include <cofork/executors/early_fork_server.hpp>
#include <cofork/executors/parcel.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/executors/pool_nesting.hpp>
#include <cofork/runtime/errors.hpp>
#include <stdexcept>
#include <utility>

namespace cofork::detail {

namespace {
constexpr std::chrono::seconds default_grace{1};
// Calls that take longer than this are sent one at a time: the order of submission is the order of starting.
constexpr double sent_ahead_below = 5e6;
// How much work, in nanoseconds, a worker is sent ahead.
constexpr double window = 2e6;
// Less than this, in nanoseconds, is not worth taking from a busy worker for an idle one.
constexpr double worth_moving = 3e4;
}  // namespace

PoolCore::PoolCore(const PoolOptions& options)
    : parallelism_(cpu_share()),
      max_workers_(options.max_workers != 0 ? options.max_workers : parallelism_),
      max_tasks_per_child_(options.max_tasks_per_child),
      max_rss_per_child_(options.max_rss_per_child),
      idle_timeout_(options.idle_timeout),
      start_method_(options.start_method),
      capture_stderr_(options.capture_stderr),
      grace_(options.grace.count() != 0 ? options.grace : default_grace),
      name_(options.name.empty() ? "cofork-worker" : options.name) {
  if (options.grace.count() < 0) throw std::invalid_argument("PoolOptions::grace is negative");
  if (idle_timeout_.count() < 0) throw std::invalid_argument("PoolOptions::idle_timeout is negative");
  nap_.core = retry_.core = idle_.core = tidy_.core = this;
}

void PoolCore::check_open() {
  origin_.check("pool");
  if (broken_) std::rethrow_exception(broken());
  if (closing_) throw InvalidStateError("the pool was shut down: it takes no further work");
  bind();
}

void PoolCore::bind() {
  Loop& current = Loop::current();
  if (loop_ == &current) return;
  if (loop_) throw std::logic_error("a pool belongs to the loop on which it was first used");
  check_pool_depth();
  if (start_method_ == StartMethod::forkserver && !fork_server::running())
    throw InvalidStateError("StartMethod::forkserver: call cofork::fork_server::start() first, at the top of main");
  loop_ = &current;
  loop_->resources().push_back(*this);
}

// The queue.

QueueEntry* PoolCore::front() noexcept {
  for (auto level = queue_.begin(); level != queue_.end(); level = queue_.erase(level))
    if (!level->second.empty()) return &level->second.front();
  return nullptr;
}

void PoolCore::enqueue(QueueEntry& entry) {
  entry.add_reference();
  queue_[entry.priority].push_back(entry);
  if (!scheduling_) make_way(entry.priority);
  schedule();
}

void PoolCore::push_front(QueueEntry& entry) {
  entry.add_reference();
  queue_[entry.priority].push_front(entry);
}

void PoolCore::remove(QueueEntry& entry) noexcept {
  if (!entry.linked()) return;
  entry.unlink();
  entry.drop_reference();
}

void PoolCore::drop_all(const std::exception_ptr& error) noexcept {
  open_inputs_.for_each([&](OpenInput& input) { input.pool_ends(error); });
  while (QueueEntry* entry = front()) {
    const IntrusivePtr<QueueEntry> alive(entry);
    remove(*entry);
    entry->drop(error);
  }
}

void PoolCore::ended(IntrusivePtr<Piece> piece) {
  ended_.push_back(std::move(piece));
  // Until that is told the loop must not sleep.
  Link<Poller>& link = *this;
  if (!link.linked() && loop_ && !closed_) loop_->pollers().push_back(*this);
}

bool PoolCore::send_next(PoolWorker& worker, QueueEntry& entry) {
  const IntrusivePtr<QueueEntry> alive(&entry);
  remove(entry);
  std::uint32_t items = ipc::max_items;
  if (max_tasks_per_child_ != 0)
    items = static_cast<std::uint32_t>(std::min<std::uint64_t>(items, max_tasks_per_child_ - worker.tasks_sent));
  Filled filled;
  try {
    filled = entry.fill(worker.sender.begin_frame(), items);
  } catch (...) {
    entry.drop(std::current_exception());
  }
  if (!filled.piece) {
    worker.sender.drop_frame();
    return false;
  }
  const IntrusivePtr<Piece> piece = filled.piece;
  const std::uint32_t count = filled.items;
  try {
    send(worker, std::move(filled));
  } catch (...) {
    for (std::uint32_t item = 0; item < count; ++item) {
      piece->failed(item, std::current_exception());
      ended(piece);
    }
  }
  if (entry.more() && !entry.linked()) {
    entry.add_reference();
    queue_[entry.priority].push_back(entry);
  }
  return true;
}

void PoolCore::send(PoolWorker& worker, Filled filled) {
  Piece& piece = *filled.piece;
  const double expected = piece.statistics->known() ? piece.statistics->nanoseconds : sent_ahead_below;
  // The worker may be at it at once: what says when it was sent must not come later.
  if (observer_) observer_->sent(worker, piece, filled.items);
  const bool timed = piece.limits.timeout.count() != 0;
  const std::int64_t sent_at = timed ? Clock::now().time_since_epoch().count() : 0;
  piece.in_frame = worker.sender.publish(filled.function, filled.items, filled.flags, filled.first_offset);
  piece.in_worker = &worker;
  worker.in_flight.emplace_back(InFlight{std::move(filled.piece), piece.in_frame, filled.items, 0, expected, sent_at});
  worker.expected += expected * filled.items;
  if (piece.belongs_to_worker()) return watch_outstanding();
  lowest_priority_ = std::min(lowest_priority_, piece.limits.priority);
  worker.tasks_sent += filled.items;
  worker.dedicated = piece.limits.resources.any();
  if (timed && deadline_after(piece.limits.timeout) < worker.deadline_at) watch_deadline(worker);
  if (!worker.retiring && worker.has_more()) start_nap();
  retire_if_used_up(worker);
  watch_outstanding();
}

// Choosing workers.

unsigned PoolCore::workers_in_use() const noexcept {
  return static_cast<unsigned>(std::count_if(workers_.begin(), workers_.end(), [](const PoolWorker& worker) {
    return !worker.condemned && !(worker.retiring && worker.idle());
  }));
}

bool PoolCore::can_start_worker() const noexcept {
  return !broken_ && !stopping_ && !retry_.active() && workers_in_use() < max_workers_;
}

bool PoolCore::has_room(PoolWorker& worker, const FunctionStatistics& expectation) const noexcept {
  if (worker.condemned || worker.retiring || worker.stop_reason != StopReason::none) return false;
  if (!worker.sender.has_room()) return false;
  if (worker.at_hand()) return true;
  if (worker.quiet_naps > 0) return false;
  if (!expectation.known() || expectation.nanoseconds > sent_ahead_below) return false;
  return worker.in_flight.size() < 2 ? worker.expected < sent_ahead_below
                                     : worker.expected + expectation.nanoseconds < window;
}

PoolWorker* PoolCore::choose_worker(const FunctionStatistics& expectation) {
  PoolWorker* best = nullptr;
  for (PoolWorker& worker : workers_) {
    if (!has_room(worker, expectation)) continue;
    if (worker.idle()) return &worker;
    if (!best || worker.expected < best->expected) best = &worker;
  }
  if (can_start_worker()) {
    if (PoolWorker* started = start_worker()) return started;
    if (broken_) return nullptr;  // with that everything has left the queue
  }
  return best;
}

PoolWorker* PoolCore::worker_for_now(const FunctionStatistics& expectation, int priority) {
  if (scheduling_) return nullptr;
  make_way(priority);
  const QueueEntry* first = front();
  if (first && first->priority >= priority) return nullptr;
  return choose_worker(expectation);
}

/// Takes back what is in workers, not begun, and of lower priority.
void PoolCore::make_way(int priority) {
  if (priority <= lowest_priority_) return;
  for (PoolWorker& worker : workers_) {
    if (worker.condemned) continue;
    for (auto frame = worker.in_flight.rbegin(); frame != worker.in_flight.rend(); ++frame)
      if (frame->results < frame->limit && frame->piece->limits.priority < priority) take_back_items(worker, *frame, 0);
  }
}

void PoolCore::schedule() {
  if (scheduling_) return;
  scheduling_ = true;
  if ((broken_ || closed_) && (front() || !open_inputs_.empty())) drop_all(broken_ ? broken() : nullptr);
  while (QueueEntry* entry = front()) {
    PoolWorker* worker = choose_worker(*entry);
    if (!worker) break;
    send_next(*worker, *entry);
  }
  if (!front()) rebalance();
  scheduling_ = false;
  if (closing_) finish_closing();
}

void PoolCore::rebalance() {
  for (PoolWorker& idle : workers_) {
    if (!idle.at_hand()) continue;
    PoolWorker* victim = nullptr;
    for (PoolWorker& worker : workers_)
      if (!worker.condemned && !worker.dedicated && worker.expected >= worth_moving &&
          (!victim || worker.expected > victim->expected))
        victim = &worker;
    if (!victim || !give_half(*victim)) return;
    while (QueueEntry* entry = front()) {
      if (entry->needs_own_worker() || !has_room(idle, entry->expectation())) break;
      send_next(idle, *entry);
    }
    // The idle one is full: what is left goes back to where there is room.
    while (QueueEntry* entry = front()) {
      PoolWorker* worker = choose_worker(*entry);
      if (!worker) return;
      send_next(*worker, *entry);
    }
  }
}

bool PoolCore::give_half(PoolWorker& victim) {
  double to_move = victim.expected / 2;
  bool moved = false;
  for (auto frame = victim.in_flight.rbegin(); frame != victim.in_flight.rend() && to_move > 0; ++frame) {
    if (frame->limit == 0) continue;
    const std::uint32_t begun = victim.sender.begun(frame->frame);
    if (begun == frame->limit) break;
    const auto items = static_cast<std::uint32_t>(
        std::min<double>(frame->limit - begun, 1 + to_move / std::max(frame->expected_each, 1.0)));
    to_move -= items * frame->expected_each;
    const std::uint32_t before = frame->limit;
    take_back_items(victim, *frame, frame->limit - items);
    moved |= frame->limit < before;
  }
  return moved;
}

// Futures and streams.

bool PoolCore::executing(const Piece& piece) const {
  if (!piece.in_worker) return false;
  PoolWorker& worker = *piece.in_worker;
  const InFlight& frame = worker.find(piece.in_frame);
  return worker.sender.begun(piece.in_frame) > frame.results;
}

std::uint32_t PoolCore::cancel_in_worker(Piece& piece) {
  if (!piece.in_worker) return 0;
  PoolWorker& worker = *piece.in_worker;
  InFlight& frame = worker.find(piece.in_frame);
  const std::uint32_t limit = worker.sender.take_back(piece.in_frame, frame.results);
  const std::uint32_t taken = frame.limit - limit;
  worker.expected -= frame.expected_each * taken;
  worker.tasks_sent -= taken;
  if (taken != 0) count_cancelled(piece, limit, taken);
  frame.limit = limit;
  if (limit == frame.results) piece.in_worker = nullptr;
  if (limit == 0) worker.sender.arguments_taken(frame.frame);
  return limit;
}

bool PoolCore::stop(Piece& piece, StopReason reason) {
  if (!piece.in_worker || piece.in_worker->condemned) return piece.in_worker != nullptr;
  PoolWorker& worker = *piece.in_worker;
  if (worker.stop_reason != StopReason::none) return executing(piece);
  // First everything behind it: a worker that is done with it meanwhile must not begin something else.
  take_back_all(worker);
  bool any = false;
  drain_or_condemn(worker, any);
  const bool still = piece.in_worker && executing(piece);
  if (still && !worker.condemned) {
    const std::chrono::nanoseconds grace = piece.limits.grace.count() != 0 ? piece.limits.grace : grace_;
    if (piece.is_coroutine)
      ask_to_stop(worker, reason, grace);
    else
      condemn(worker, reason, grace);
  }
  schedule();
  return still;
}

// The pool itself.

PoolStats PoolCore::stats() const {
  PoolStats stats = stats_;
  for (const auto& [priority, entries] : queue_)
    const_cast<List<QueueEntry>&>(entries).for_each([&](QueueEntry& entry) { stats.pending += entry.pending(); });
  for (const PoolWorker& worker : workers_) {
    if (worker.pid_as_known() != 0 && !worker.condemned) ++stats.workers;
    for (const InFlight& frame : worker.in_flight) {
      const std::uint32_t begun = worker.sender.begun(frame.frame);
      if (begun > frame.results) ++stats.running;
      stats.pending += frame.limit - std::max(begun, frame.results);
    }
  }
  return stats;
}

std::vector<pid_t> PoolCore::worker_pids() const {
  std::vector<pid_t> pids;
  for (const PoolWorker& worker : workers_)
    if (const pid_t pid = worker.pid_as_known(); pid > 0 && !worker.condemned) pids.push_back(pid);
  return pids;
}

}  // namespace cofork::detail
