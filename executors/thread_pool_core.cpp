#include <pthread.h>

#include <algorithm>
#include <cofork/executors/local_call.hpp>
#include <cofork/executors/parallelism.hpp>
#include <cofork/executors/thread_pool_core.hpp>
#include <cofork/runtime/errors.hpp>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {
// Calls shorter than this are expected back before sleeping would be worth its cost.
constexpr std::chrono::microseconds spin_below{100};

void name_this_thread(std::string name, std::size_t number) {
  // Linux has room for 15 characters: the number must be among them.
  std::string suffix = std::to_string(number);
  suffix.insert(suffix.begin(), '_');
  name.resize(std::min(name.size(), 15 - std::min<std::size_t>(suffix.size(), 15)));
  ::pthread_setname_np(::pthread_self(), (name + suffix).c_str());  // a name that cannot be set is no failure
}

Task<> wait_for_end(IntrusivePtr<ThreadPoolCore>, Event& ended) { co_await ended.wait(); }
}  // namespace

ThreadWork::ThreadWork(IntrusivePtr<ThreadPoolCore> core, int priority, std::chrono::nanoseconds timeout)
    : core_(std::move(core)), priority_(priority), timeout_(timeout) {
  deadline_.work = this;
}

ThreadWork::~ThreadWork() = default;

ThreadPoolCore::ThreadPoolCore(unsigned max_workers, std::string thread_name_prefix)
    : parallelism_(available_parallelism()),
      max_workers_(max_workers != 0 ? max_workers : std::min(32u, parallelism_ + 4)),
      thread_name_prefix_(thread_name_prefix.empty() ? "thread-pool" : std::move(thread_name_prefix)) {}

void ThreadPoolCore::check_open() {
  origin_.check("pool");
  if (closing_) throw InvalidStateError("the pool was shut down: it takes no further work");
  Loop& current = Loop::current();
  if (loop_ == &current) return;
  if (loop_) throw std::logic_error("a pool belongs to the loop on which it was first used");
  loop_ = &current;
  loop_->resources().push_back(*this);
}

void ThreadPoolCore::enqueue(ThreadWork& work) {
  bool too_few_threads, idle;
  {
    std::lock_guard lock(mutex_);
    queue_[work.priority_].push_back(work);
    work.queued_ = true;
    ++queued_;
    too_few_threads = queued_ > idle_;
    idle = idle_ != 0;
  }
  work.add_reference();
  ++outstanding_;
  ++stats_.submitted;
  Link<Poller>& link = *this;
  if (!link.linked()) loop_->pollers().push_back(*this);
  if (!too_few_threads || threads_.size() == max_workers_) {
    if (idle) work_arrived_.notify_one();
    return;
  }
  try {
    start_thread();
  } catch (...) {
    if (!threads_.empty()) return;  // it will be executed, if later
    --stats_.submitted;
    take_back(work);
    throw;
  }
}

bool ThreadPoolCore::take_back(ThreadWork& work) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (!work.queued_) return false;
    static_cast<Link<ThreadWork>&>(work).unlink();
    work.queued_ = false;
    --queued_;
  }
  const IntrusivePtr<ThreadPoolCore> alive(this);
  --outstanding_;
  work.drop_reference();
  settle();
  return true;
}

// The threads.

void ThreadPoolCore::start_thread() {
  const std::size_t number = threads_.size();
  threads_.emplace_back([this, number] {
    name_this_thread(thread_name_prefix_, number);
    work_on_queue();
  });
  ++stats_.workers_started;
}

ThreadWork& ThreadPoolCore::take_next() {
  auto level = queue_.begin();
  while (level->second.empty()) level = queue_.erase(level);
  ThreadWork& work = level->second.pop_front();
  work.queued_ = false;
  --queued_;
  work.executing_.store(true, std::memory_order_relaxed);
  executing_.push_back(work);
  ++busy_;
  return work;
}

void ThreadPoolCore::work_on_queue() {
  std::unique_lock lock(mutex_);
  const auto tell_loop = [&] {
    news_.store(true, std::memory_order_release);
    if (!std::exchange(loop_sleeps_, false)) return;
    lock.unlock();
    loop_->post([] {});  // which asks the pool, being awake
    lock.lock();
  };
  ++idle_;
  for (;;) {
    while (queued_ == 0) {
      if (stop_) return;
      work_arrived_.wait(lock);
    }
    --idle_;
    ThreadWork& work = take_next();
    const Clock::time_point begin = Clock::now();
    if (work.timeout_.count() != 0) {
      work.begun_at_ = begin;
      begun_.push_back(work);
      tell_loop();
    }
    lock.unlock();
    work.execute();
    const bool is_short = Clock::now() - begin < spin_below;
    lock.lock();
    calls_are_short_ = is_short;
    work.executing_.store(false, std::memory_order_release);
    static_cast<Link<ThreadWork>&>(work).unlink();
    executed_.push_back(work);
    --busy_;
    ++idle_;  // before it tells: what comes then needs no other thread
    tell_loop();
  }
}

// The way back.

bool ThreadPoolCore::worth_spinning() const {
  std::lock_guard lock(mutex_);
  return calls_are_short_ && busy_ < parallelism_;
}

bool ThreadPoolCore::prepare_to_sleep() {
  std::lock_guard lock(mutex_);
  if (news_.load(std::memory_order_relaxed)) return false;
  loop_sleeps_ = true;
  return true;
}

void ThreadPoolCore::awake() {
  std::lock_guard lock(mutex_);
  loop_sleeps_ = false;
}

bool ThreadPoolCore::poll() {
  if (!news_.load(std::memory_order_acquire)) return false;
  const IntrusivePtr<ThreadPoolCore> alive(this);
  deliver();
  settle();
  return true;
}

void ThreadPoolCore::deliver() {
  List<ThreadWork, BegunCall> begun;
  {
    std::lock_guard lock(mutex_);
    news_.store(false, std::memory_order_relaxed);
    begun.splice_back(begun_);
    delivering_.splice_back(executed_);
  }
  while (!begun.empty()) {
    ThreadWork& work = begun.pop_front();
    const bool for_ever = work.timeout_ >= Clock::time_point::max() - work.begun_at_;
    if (for_ever) continue;
    work.deadline_.start(work.begun_at_ + work.timeout_, [](Timer& timer) noexcept {
      ThreadWork& late = *static_cast<ThreadWork::Deadline&>(timer).work;
      late.core_->deadline_passed(late);
    });
  }
  // What this calls may come back here, or end the pool.
  while (!delivering_.empty()) {
    ThreadWork& work = delivering_.pop_front();
    work.deadline_.stop();
    --outstanding_;
    work.executed();
    work.drop_reference();
  }
}

void ThreadPoolCore::deadline_passed(ThreadWork& work) {
  if (!work.executing()) return;  // it has just ended
  work.request_stop();
  work.give_up(timeout_error(work.name(), work.timeout_));
}

void ThreadPoolCore::count(Ended ended) noexcept {
  if (ended == Ended::value)
    ++stats_.completed;
  else if (ended == Ended::error)
    ++stats_.failed;
  else
    ++stats_.cancelled;
}

PoolStats ThreadPoolCore::stats() const {
  PoolStats stats = stats_;
  stats.workers = threads_.size();
  std::lock_guard lock(mutex_);
  stats.pending = queued_;
  stats.running = busy_;
  return stats;
}

// The end.

void ThreadPoolCore::drop_queued() noexcept {
  for (;;) {
    ThreadWork* work = nullptr;
    {
      std::lock_guard lock(mutex_);
      for (auto& [priority, list] : queue_)
        if (!work && !list.empty()) work = &list.front();
    }
    if (!work) return;
    const IntrusivePtr<ThreadWork> alive(work);
    if (take_back(*work)) work->give_up(nullptr);
  }
}

void ThreadPoolCore::close(bool cancel_pending) {
  const IntrusivePtr<ThreadPoolCore> alive(this);
  closing_ = true;
  ending_inputs_ = true;
  open_inputs_.for_each([&](OpenInput& input) { cancel_pending ? input.pool_ends(nullptr) : input.pool_closes(); });
  ending_inputs_ = false;
  if (cancel_pending) drop_queued();
  settle();
}

void ThreadPoolCore::settle() {
  if (outstanding_ != 0) return;
  Link<Poller>& poller = *this;
  poller.unlink();
  if (closing_ && !ending_inputs_ && !closed_) end_threads();
}

void ThreadPoolCore::end_threads() noexcept {
  closed_ = true;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_arrived_.notify_all();
  // They do no more than return, unless this is the end by force.
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  Link<LoopResource>& resource = *this;
  resource.unlink();
  ended_.set();
}

Task<> ThreadPoolCore::closed() { return wait_for_end(IntrusivePtr<ThreadPoolCore>(this), ended_); }

void ThreadPoolCore::terminate() noexcept {
  if (closed_) return;
  if (!origin_.is_here()) return add_reference();  // for ever: what it has, and its threads, are the parent's
  const IntrusivePtr<ThreadPoolCore> alive(this);
  close(true);
  if (closed_) return;
  {
    std::lock_guard lock(mutex_);
    executing_.for_each([](ThreadWork& work) { work.request_stop(); });
  }
  end_threads();
  deliver();
  settle();
}

}  // namespace cofork::detail
