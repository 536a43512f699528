#include <algorithm>
#include <cofork/ipc/condition.hpp>
#include <coroutine>
#include <exception>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace cofork::detail {

namespace {

constexpr std::uint32_t kind_of_condition = 6;
constexpr std::uint32_t nowhere = MonitorHeader::max_members;

/// Awaits a sleep as a coroutine that cannot be cancelled.
struct SleepToTheEnd {
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) { return sleep.await_suspend(handle); }
  void await_resume() { sleep.await_resume(); }

  MonitorSleep& sleep;
};

Task<> lock_again(IntrusivePtr<ConditionState> state, ipc::LockGuard& guard) {
  MonitorSleep sleep(*state, std::nullopt);
  for (;;) {
    if (const auto taken = state->try_take(nullptr)) {
      guard.taken_again(*taken);
      co_return;
    }
    sleep.announce();
    if (const auto taken = state->try_take(nullptr)) {
      guard.taken_again(*taken);
      co_return;
    }
    co_await SleepToTheEnd{sleep};
  }
}

/// One wait; it leaves the waiters however it ends.
class Waiting {
 public:
  explicit Waiting(IntrusivePtr<ConditionState> state) : state_(std::move(state)), number_(state_->begin_wait()) {}
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() {
    if (!notified_) state_->leave_waiters(number_);
  }
  bool attempt() { return notified_ = state_->take_notification(number_); }

 private:
  IntrusivePtr<ConditionState> state_;
  std::uint64_t number_;
  bool notified_ = false;
};

Task<bool> wait_under(IntrusivePtr<ConditionState> state, ipc::LockGuard& guard, Deadline deadline) {
  state->require_held(guard, "Condition::wait");
  std::optional<Waiting> waiting(std::in_place, state);
  state->give_back(guard.ticket());
  std::exception_ptr error;
  bool notified = false;
  try {
    auto attempt = [&waiting] { return waiting->attempt(); };
    Task<bool> wait = wait_until(state, attempt, deadline);
    notified = co_await std::move(wait);
  } catch (...) {
    error = std::current_exception();
  }
  waiting.reset();
  Task<> again = lock_again(state, guard);
  co_await std::move(again);
  if (error) std::rethrow_exception(error);
  co_return notified;
}

Task<> wait_under(IntrusivePtr<ConditionState> state, ipc::LockGuard& guard) {
  Task<bool> wait = wait_under(std::move(state), guard, std::nullopt);
  co_await std::move(wait);
}

}  // namespace

ConditionState::ConditionState() : GuardedState(name, kind_of_condition, sizeof(Memory)) {}
ConditionState::ConditionState(ipc::Reader& reader) : GuardedState(name, kind_of_condition, sizeof(Memory), reader) {}

std::optional<GuardedState::Taken> ConditionState::try_take(const Context*) { return word().try_take(join()); }

bool ConditionState::give_back(std::uint64_t ticket) noexcept {
  const bool released = word().release(ticket);
  if (released) changed_atomically();
  return released;
}

void ConditionState::require_held(const ipc::LockGuard& guard, const char* function) const {
  if (!guard.holds(*this) || word().load() != guard.ticket())
    throw std::logic_error(std::string(function) + ": the guard does not hold the lock of this condition");
}

ConditionState::Counts ConditionState::counts(std::uint32_t place) noexcept {
  const std::uint64_t word = member(place).word[0].load();
  return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
}

void ConditionState::set_counts(std::uint32_t place, Counts counts) noexcept {
  member(place).word[0].store(std::uint64_t{counts.notified} << 32 | counts.waiting);
}

std::deque<std::uint64_t>& ConditionState::waiters() {
  if (generation_ != fork_generation()) {
    // Those are the parent's; another thread of it may have been changing them.
    new (&waiters_) std::deque<std::uint64_t>;
    generation_ = fork_generation();
  }
  return waiters_;
}

std::uint64_t ConditionState::begin_wait() {
  const MonitorLock lock(*this);
  waiters().push_back(++last_waiter_);
  Counts own = counts(place());
  ++own.waiting;
  set_counts(place(), own);
  return last_waiter_;
}

bool ConditionState::take_notification(std::uint64_t waiter) {
  if (counts(place()).notified == 0) return false;
  const MonitorLock lock(*this);
  Counts own = counts(place());
  const auto end = waiters_.begin() + std::min<std::ptrdiff_t>(own.notified, std::ssize(waiters_));
  const auto found = std::find(waiters_.begin(), end, waiter);
  if (found == end) return false;
  waiters_.erase(found);
  --own.waiting;
  --own.notified;
  set_counts(place(), own);
  return true;
}

void ConditionState::leave_waiters(std::uint64_t waiter) noexcept {
  try {
    const MonitorLock lock(*this);
    const auto found = std::find(waiters_.begin(), waiters_.end(), waiter);
    if (found == waiters_.end()) return;
    Counts own = counts(place());
    const bool was_notified = found - waiters_.begin() < static_cast<std::ptrdiff_t>(own.notified);
    // It is given first: to die in between costs others a spurious wake-up, and not the lack of one.
    if (was_notified && own.notified == own.waiting) {
      give_notifications(1, place());
      --own.notified;
    }
    waiters_.erase(found);
    --own.waiting;
    set_counts(place(), own);
  } catch (const std::system_error&) {
    // It looks as if it waited still.
  }
  changed();
}

void ConditionState::give_notifications(std::uint64_t n, std::uint32_t except) noexcept {
  const std::uint32_t used = places_used();
  std::atomic<std::uint32_t>& next = state<Memory>().next;
  std::uint32_t place = next.load() < used ? next.load() : 0;
  for (std::uint32_t looked_in_vain = 0; n > 0 && looked_in_vain < used; place = place + 1 < used ? place + 1 : 0) {
    Counts there = place == except ? Counts() : counts(place);
    if (there.notified < there.waiting) {
      ++there.notified;
      set_counts(place, there);
      --n;
      looked_in_vain = 0;
    } else {
      ++looked_in_vain;
    }
  }
  next.store(place);
}

void ConditionState::notify(std::uint64_t n) {
  {
    const MonitorLock lock(*this);
    give_notifications(n, nowhere);
  }
  changed();
}

void ConditionState::member_gone(std::uint32_t place) noexcept {
  word().member_gone(place);
  if (const std::uint32_t notified = counts(place).notified; notified > 0) give_notifications(notified, place);
}

}  // namespace cofork::detail

namespace cofork::ipc {

Condition::Condition() : StateHandle(detail::make_intrusive<detail::ConditionState>()) {}

LockGuard Condition::blocking_acquire() const {
  return *detail::blocking_acquire_guard(state(), "Condition::blocking_acquire", std::nullopt);
}

Task<> Condition::wait(LockGuard& guard) const { return detail::wait_under(shared_state(), guard); }

Task<bool> Condition::wait(LockGuard& guard, std::chrono::nanoseconds timeout) const {
  return detail::wait_under(shared_state(), guard, detail::deadline_of(timeout));
}

bool Condition::blocking_wait(LockGuard& guard, std::optional<std::chrono::nanoseconds> timeout) const {
  detail::require_no_loop("Condition::blocking_wait");
  const detail::IntrusivePtr<detail::ConditionState> condition = shared_state();
  condition->require_held(guard, "Condition::blocking_wait");
  bool notified = false;
  {
    detail::Waiting waiting(condition);
    condition->give_back(guard.ticket());
    notified = detail::blocking_wait_until(
        *condition, [&] { return waiting.attempt(); }, detail::deadline_of(timeout));
  }
  const auto lock = [&] {
    const auto taken = condition->try_take(nullptr);
    if (taken) guard.taken_again(*taken);
    return taken.has_value();
  };
  detail::blocking_wait_until(*condition, lock, std::nullopt);
  return notified;
}

void Condition::notify_all() const { state().notify(std::numeric_limits<std::uint64_t>::max()); }

}  // namespace cofork::ipc
