#include <algorithm>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/timer_heap.hpp>

namespace cofork::detail {

void Timer::start(Clock::time_point deadline, OnExpiry on_expiry) {
  stop();
  current_loop->timers().push(*this, deadline);
  on_expiry_ = on_expiry;
}

void Timer::stop() noexcept {
  if (heap_) heap_->remove(*this);
}

TimerHeap::~TimerHeap() {
  for (Entry& entry : entries_) entry.timer->heap_ = nullptr;
}

void TimerHeap::push(Timer& timer, Clock::time_point deadline) {
  entries_.push_back({});
  timer.heap_ = this;
  sift_up(entries_.size() - 1, {deadline, started_++, &timer});
}

void TimerHeap::remove(Timer& timer) noexcept {
  const std::size_t index = timer.index_;
  const Entry last = entries_.back();
  entries_.pop_back();
  timer.heap_ = nullptr;
  if (index == entries_.size()) return;
  if (index > 0 && last.before(entries_[(index - 1) / 4]))
    sift_up(index, last);
  else
    sift_down(index, last);
}

void TimerHeap::expire(Clock::time_point now) {
  // One that is started meanwhile waits for the next turn, however early its deadline.
  const std::uint64_t started = started_;
  while (!entries_.empty() && entries_.front().deadline <= now && entries_.front().order < started) {
    Timer& timer = *entries_.front().timer;
    remove(timer);
    timer.on_expiry_(timer);
  }
}

void TimerHeap::sift_up(std::size_t index, Entry entry) noexcept {
  while (index > 0) {
    const std::size_t parent = (index - 1) / 4;
    if (!entry.before(entries_[parent])) break;
    place(index, entries_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerHeap::sift_down(std::size_t index, Entry entry) noexcept {
  for (;;) {
    const std::size_t first = 4 * index + 1;
    if (first >= entries_.size()) break;
    std::size_t least = first;
    for (std::size_t child = first + 1; child < std::min(first + 4, entries_.size()); ++child)
      if (entries_[child].before(entries_[least])) least = child;
    if (!entries_[least].before(entry)) break;
    place(index, entries_[least]);
    index = least;
  }
  place(index, entry);
}

}  // namespace cofork::detail
