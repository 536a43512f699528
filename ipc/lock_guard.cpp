#include <cofork/ipc/lock_guard.hpp>
#include <cofork/runtime/this_context.hpp>
#include <stdexcept>
#include <utility>

namespace cofork::detail {

Task<ipc::LockGuard> acquire_guard(IntrusivePtr<GuardedState> state) {
  const Context* const line = co_await ThisContext{};
  std::optional<ipc::LockGuard> guard;
  auto attempt = [&guard, &state, line] {
    if (const auto taken = state->try_take(line)) guard.emplace(state, *taken);
    return guard.has_value();
  };
  Task<bool> wait = wait_until(state, attempt, std::nullopt);
  co_await std::move(wait);
  co_return std::move(*guard);
}

std::optional<ipc::LockGuard> blocking_acquire_guard(GuardedState& state, const char* function, Deadline deadline) {
  require_no_loop(function);
  std::optional<ipc::LockGuard> guard;
  const auto attempt = [&] {
    if (const auto taken = state.try_take(nullptr)) guard.emplace(IntrusivePtr<GuardedState>(&state), *taken);
    return guard.has_value();
  };
  blocking_wait_until(state, attempt, deadline);
  return guard;
}

std::optional<GuardedState::Taken> try_take_now(GuardedState& state) {
  if (const auto taken = state.try_take(nullptr)) return taken;
  state.remove_dead_members();
  return state.try_take(nullptr);
}

}  // namespace cofork::detail

namespace cofork::ipc {

LockGuard::LockGuard(detail::IntrusivePtr<detail::GuardedState> state, detail::GuardedState::Taken taken) noexcept
    : state_(std::move(state)),
      ticket_(taken.ticket),
      generation_(detail::fork_generation()),
      owner_died_(taken.owner_died) {}

LockGuard& LockGuard::operator=(LockGuard&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  state_ = std::move(other.state_);
  ticket_ = other.ticket_;
  generation_ = other.generation_;
  owner_died_ = other.owner_died_;
  return *this;
}

bool LockGuard::holds(const detail::GuardedState& state) const noexcept {
  return state_.get() == &state && generation_ == detail::fork_generation();
}

void LockGuard::taken_again(detail::GuardedState::Taken taken) noexcept {
  ticket_ = taken.ticket;
  owner_died_ = taken.owner_died;
}

void LockGuard::unlock() {
  if (!state_) throw std::logic_error("this guard holds nothing: it was unlocked or moved from");
  if (!give_back())
    throw std::logic_error("what this guard held was released by somebody else, or belongs to the parent");
}

bool LockGuard::give_back() noexcept {
  const detail::IntrusivePtr<detail::GuardedState> state = std::move(state_);
  return state && generation_ == detail::fork_generation() && state->give_back(ticket_);
}

}  // namespace cofork::ipc
