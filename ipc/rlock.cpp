#include <cofork/ipc/rlock.hpp>
#include <stdexcept>

namespace cofork::detail {

namespace {
constexpr std::uint32_t kind_of_rlock = 2;
}

RLockState::RLockState() : GuardedState(name, kind_of_rlock, sizeof(Memory)) {}
RLockState::RLockState(ipc::Reader& reader) : GuardedState(name, kind_of_rlock, sizeof(Memory), reader) {}

std::optional<GuardedState::Taken> RLockState::try_take(const Context* context) {
  const std::uint32_t own_place = join();
  const std::uint64_t line = context ? context->number() : 0;
  const std::uint64_t held = word().load();
  // The place: in a forked child the rest is still the parent's.
  if (LockWord::is_held_by(held, own_place) && ticket_.load() == held && line_.load() == line &&
      (line != 0 || thread_.load() == this_thread_number())) {
    depth_.fetch_add(1);
    return Taken{held, false};
  }
  const auto taken = word().try_take(own_place);
  if (taken) {
    thread_.store(this_thread_number());
    line_.store(line);
    depth_.store(1);
    ticket_.store(taken->ticket);
  }
  return taken;
}

bool RLockState::give_back(std::uint64_t ticket) noexcept {
  if (word().load() != ticket) return false;
  if (depth_.fetch_sub(1) > 1) return true;
  const bool released = word().release(ticket);
  if (released) changed_atomically();
  return released;
}

void RLockState::release() {
  const std::uint32_t own_place = join();
  const std::uint64_t held = word().load();
  if (!LockWord::is_held_by(held, own_place) || ticket_.load() != held || thread_.load() != this_thread_number())
    throw std::logic_error("RLock::release: this thread does not hold it");
  give_back(held);
}

}  // namespace cofork::detail

namespace cofork::ipc {

RLock::RLock() : StateHandle(detail::make_intrusive<detail::RLockState>()) {}

LockGuard RLock::blocking_acquire() const {
  return *detail::blocking_acquire_guard(state(), "RLock::blocking_acquire", std::nullopt);
}

std::optional<LockGuard> RLock::blocking_acquire(std::chrono::nanoseconds timeout) const {
  return detail::blocking_acquire_guard(state(), "RLock::blocking_acquire", detail::deadline_of(timeout));
}

}  // namespace cofork::ipc
