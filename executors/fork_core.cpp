#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/fork_advice.hpp>
#include <cofork/executors/fork_core.hpp>
#include <csignal>
#include <stdexcept>
#include <utility>

namespace cofork::detail {

namespace {
/// What was counted; not what is so at the moment.
void add_counts(PoolStats& sum, const PoolStats& more) {
  sum.submitted += more.submitted;
  sum.completed += more.completed;
  sum.failed += more.failed;
  sum.cancelled += more.cancelled;
  sum.workers_started += more.workers_started;
  sum.workers_died += more.workers_died;
}
}  // namespace

void ForkCore::check_open() {
  origin_.check("executor");
  if (closing_) throw InvalidStateError("the executor was shut down: it takes no further work");
  Loop& current = Loop::current();
  if (loop_ == &current) return;
  if (loop_) throw std::logic_error("an executor belongs to the loop on which it was first used");
  loop_ = &current;
  loop_->resources().push_back(*this);
}

void ForkCore::submit(ForkedTask& task) {
  const bool at_once = executing_ < max_workers_;
  ++stats_.submitted;
  task.submitted_at_ = Clock::now();
  try {
    task.fork(at_once);
  } catch (...) {
    ++stats_.failed;
    task.phase_ = ForkedTask::Phase::ended;
    task.failed(std::current_exception());
    return task.settled();
  }
  ++stats_.workers_started;
  ++children_;
  idle_.clear();
  task.add_reference();
  if (at_once) {
    ++executing_;
    task.begin();
    active_.push_back(task);
  } else {
    task.phase_ = ForkedTask::Phase::waiting;
    waiting_[task.priority_].push_back(task);
  }
}

IntrusivePtr<PoolCore> ForkCore::fork_pool(const ProcessTarget& target) {
  warn_about_snapshot_threads();
  forget_closed_maps();
  PoolOptions options;
  options.max_workers = max_workers_;
  options.name = "cofork-fork";
  auto pool = make_intrusive<PoolCore>(options);
  Inheritance inheritance;
  add_handles_of(target, inheritance.handles);
  inheritance.descriptors = inheritable_descriptors();
  pool->fork_snapshot(inheritance);
  maps_.push_back(pool);
  return pool;
}

void ForkCore::next_turns() noexcept {
  for (auto level = waiting_.begin(); level != waiting_.end() && executing_ < max_workers_;) {
    if (level->second.empty()) {
      level = waiting_.erase(level);
      continue;
    }
    ForkedTask& task = level->second.pop_front();
    ++executing_;
    active_.push_back(task);
    task.begin();
    task.child_->begin();
  }
}

/// The core is done with the task; it may be destroyed.
void ForkCore::release(ForkedTask& task) noexcept {
  task.unlink();
  task.end_ = DescriptorWatch();
  task.deadline_.stop();
  task.kill_.stop();
  if (!task.is_stream()) task.child_.reset();
  task.body_.reset();
  if (--children_ == 0) idle_.set();
  task.drop_reference();
}

void ForkCore::child_ended(ForkedTask& task) noexcept {
  const std::optional<ForkedChild::End> end = task.child_->reap();
  if (!end) return;
  const IntrusivePtr<ForkCore> alive(this);
  const IntrusivePtr<ForkedTask> task_alive(&task);
  if (task.phase_ == ForkedTask::Phase::discarded) return release(task);
  // A child that was killed before its turn has died as any other.
  const bool waited = std::exchange(task.phase_, ForkedTask::Phase::executing) == ForkedTask::Phase::waiting;
  if (waited) {
    task.begun_at_ = Clock::now();
    ++executing_;
    task.unlink();
    active_.push_back(task);
  }
  task.note_end(*end);
  if (!task.is_stream()) {
    // What was told to stop ends by that, although its child may have come to an end of it by itself.
    if (task.stop_reason_ == StopReason::none) task.receive_one();
    if (task.outcome_ == ForkedTask::Outcome::none && task.stop_reason_ == StopReason::none && task.retries_ > 0) {
      --task.retries_;
      task.deadline_.stop();
      task.end_ = DescriptorWatch();
      try {
        task.fork(true);
        ++stats_.workers_started;
        ++stats_.workers_died;
        return task.begin();
      } catch (...) {
        task.failed(std::current_exception());
      }
    }
  }
  task.phase_ = ForkedTask::Phase::ended;
  --executing_;
  if (!task.is_stream() && task.outcome_ == ForkedTask::Outcome::none) task.ended_without_result();
  if (task.stop_reason_ == StopReason::none && (!end->status_known || end->status != 0)) ++stats_.workers_died;
  count(task);
  release(task);
  next_turns();
  task.settled();
}

void ForkCore::count(const ForkedTask& task) noexcept {
  switch (task.outcome_) {
    case ForkedTask::Outcome::none:  // of a stream, whose last message was not asked for yet
    case ForkedTask::Outcome::value:
      ++stats_.completed;
      return;
    case ForkedTask::Outcome::error:
      ++stats_.failed;
      return;
    case ForkedTask::Outcome::cancelled:
      ++stats_.cancelled;
  }
}

/// Before its turn: its future is cancelled at once, its child ends soon.
void ForkCore::discard(ForkedTask& task) noexcept {
  const IntrusivePtr<ForkedTask> alive(&task);
  task.phase_ = ForkedTask::Phase::discarded;
  task.unlink();
  active_.push_back(task);
  task.child_->signal(SIGKILL);
  ++stats_.cancelled;
  task.set_outcome(ForkedTask::Outcome::cancelled);
  task.settled();
}

template <class F>
void ForkCore::for_each_waiting(F&& visit) {
  for (auto& [priority, tasks] : waiting_) tasks.for_each(visit);
}

void ForkCore::close(bool cancel_pending) {
  origin_.check("executor");
  const IntrusivePtr<ForkCore> alive(this);
  closing_ = true;
  if (cancel_pending) for_each_waiting([&](ForkedTask& task) { discard(task); });
  for (const IntrusivePtr<PoolCore>& map : std::vector(maps_)) map->close(cancel_pending);
}

void ForkCore::terminate() noexcept {
  if (!origin_.is_here()) return add_reference();  // for ever: what it has is the parent's
  const IntrusivePtr<ForkCore> alive(this);
  closing_ = true;
  for (const IntrusivePtr<PoolCore>& map : std::exchange(maps_, {})) map->terminate();
  for_each_waiting([&](ForkedTask& task) { discard(task); });
  // All at once, and then one after the other is waited for.
  active_.for_each([](ForkedTask& task) { task.child_->signal(SIGKILL); });
  while (!active_.empty()) {
    ForkedTask& task = active_.front();
    const IntrusivePtr<ForkedTask> task_alive(&task);
    const bool executed = task.phase_ == ForkedTask::Phase::executing;
    task.end_ = DescriptorWatch();
    if (executed) {
      // Its result may be there although nobody has seen its end yet.
      if (!task.is_stream() && task.stop_reason_ == StopReason::none) task.receive_one();
      task.phase_ = ForkedTask::Phase::ended;
      --executing_;
      if (task.outcome_ == ForkedTask::Outcome::none) task.set_outcome(ForkedTask::Outcome::cancelled);
      count(task);
    }
    task.stop_listening();
    task.child_.reset();
    release(task);
    if (executed) task.settled();
  }
  Link<LoopResource>& link = *this;
  link.unlink();
}

Task<> ForkCore::closed(IntrusivePtr<ForkCore> core) {
  while (!core->idle_.is_set()) co_await core->idle_.wait();
  while (!core->maps_.empty()) {
    const IntrusivePtr<PoolCore> map = core->maps_.back();
    if (!map->is_closed()) co_await map->closed();
    core->forget_closed_maps();
  }
}

void ForkCore::forget_closed_maps() {
  std::erase_if(maps_, [&](const IntrusivePtr<PoolCore>& map) {
    if (map->is_closed()) add_counts(stats_, map->stats());
    return map->is_closed();
  });
}

PoolStats ForkCore::stats() const {
  PoolStats stats = stats_;
  for (auto& [priority, tasks] : waiting_)
    const_cast<List<ForkedTask>&>(tasks).for_each([&](ForkedTask&) { ++stats.pending; });
  stats.running = executing_;
  stats.workers = children_;
  for (const IntrusivePtr<PoolCore>& map : maps_) {
    const PoolStats of_map = map->stats();
    add_counts(stats, of_map);
    stats.pending += of_map.pending;
    stats.running += of_map.running;
    stats.workers += of_map.workers;
  }
  return stats;
}

}  // namespace cofork::detail
