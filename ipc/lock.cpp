#include <cofork/ipc/lock.hpp>
#include <stdexcept>

namespace cofork::detail {

namespace {
constexpr std::uint32_t kind_of_lock = 1;
}

LockState::LockState(const char* what) : GuardedState(what, kind_of_lock, sizeof(Memory)) {}
LockState::LockState(ipc::Reader& reader, const char* what)
    : GuardedState(what, kind_of_lock, sizeof(Memory), reader) {}

std::optional<GuardedState::Taken> LockState::try_take(const Context*) {
  const auto taken = word().try_take(join());
  if (taken) {
    thread_.store(this_thread_number());
    ticket_of_thread_.store(taken->ticket);
  }
  return taken;
}

bool LockState::give_back(std::uint64_t ticket) noexcept {
  const bool released = word().release(ticket);
  if (released) changed_atomically();
  return released;
}

void LockState::release() {
  join();
  if (!word().release_any()) throw std::logic_error("Lock::release: it is not locked");
  changed_atomically();
}

bool LockState::locked() {
  if (!LockWord::is_held(word().load())) return false;
  remove_dead_members();
  return LockWord::is_held(word().load());
}

bool LockState::held_by_this_thread() noexcept {
  const std::uint64_t ticket = word().load();
  return ticket == ticket_of_thread_.load() && thread_.load() == this_thread_number() &&
         LockWord::is_held_by(ticket, join());
}

}  // namespace cofork::detail

namespace cofork::ipc {

Lock::Lock() : StateHandle(detail::make_intrusive<detail::LockState>()) {}

LockGuard Lock::blocking_acquire() const {
  return *detail::blocking_acquire_guard(state(), "Lock::blocking_acquire", std::nullopt);
}

std::optional<LockGuard> Lock::blocking_acquire(std::chrono::nanoseconds timeout) const {
  return detail::blocking_acquire_guard(state(), "Lock::blocking_acquire", detail::deadline_of(timeout));
}

}  // namespace cofork::ipc
