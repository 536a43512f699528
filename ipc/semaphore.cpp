#include <algorithm>
#include <cofork/ipc/semaphore.hpp>
#include <limits>
#include <stdexcept>
#include <utility>

namespace cofork::detail {

namespace {
constexpr std::uint32_t kind_of_semaphore = 3;
}

SemaphoreState::SemaphoreState(unsigned value, bool bounded) : GuardedState(name, kind_of_semaphore, sizeof(Memory)) {
  counts().permits = value;
  counts().initial = value;
  counts().bounded = bounded ? 1 : 0;
}
SemaphoreState::SemaphoreState(ipc::Reader& reader) : GuardedState(name, kind_of_semaphore, sizeof(Memory), reader) {}

std::int64_t SemaphoreState::available() noexcept {
  std::int64_t available = counts().permits.load();
  const std::uint32_t used = places_used();
  for (std::uint32_t place = 0; place < used; ++place)
    available -= static_cast<std::int64_t>(member(place).word[0].load());
  return available;
}

std::optional<GuardedState::Taken> SemaphoreState::try_take(const Context*) {
  const MonitorLock lock(*this);
  if (available() <= 0) return std::nullopt;
  member(place()).word[0].fetch_add(1);
  return Taken{0, false};
}

bool SemaphoreState::give_back(std::uint64_t) noexcept {
  member(place()).word[0].fetch_sub(1);
  changed_atomically();
  return true;
}

bool SemaphoreState::try_acquire() {
  const auto take = [this] {
    const MonitorLock lock(*this);
    if (available() <= 0) return false;
    counts().permits.fetch_sub(1);
    return true;
  };
  if (take()) return true;
  remove_dead_members();
  return take();
}

void SemaphoreState::release(unsigned n) {
  {
    const MonitorLock lock(*this);
    const std::int64_t after = available() + n;
    if (bounded() && after > counts().initial.load())
      throw std::logic_error("BoundedSemaphore::release: more than were there in the beginning");
    if (after > std::numeric_limits<unsigned>::max()) throw std::logic_error("Semaphore::release: too many permits");
    counts().permits.fetch_add(n);
  }
  changed_atomically();
}

unsigned SemaphoreState::value() {
  remove_dead_members();
  const MonitorLock lock(*this);
  return static_cast<unsigned>(std::max<std::int64_t>(available(), 0));
}

}  // namespace cofork::detail

namespace cofork::ipc {

Semaphore::Semaphore(unsigned value) : Semaphore(value, false) {}
Semaphore::Semaphore(unsigned value, bool bounded)
    : StateHandle(detail::make_intrusive<detail::SemaphoreState>(value, bounded)) {}

LockGuard Semaphore::blocking_acquire() const {
  return *detail::blocking_acquire_guard(state(), "Semaphore::blocking_acquire", std::nullopt);
}

std::optional<LockGuard> Semaphore::blocking_acquire(std::chrono::nanoseconds timeout) const {
  return detail::blocking_acquire_guard(state(), "Semaphore::blocking_acquire", detail::deadline_of(timeout));
}

bool Semaphore::try_acquire() const { return state().try_acquire(); }

BoundedSemaphore::BoundedSemaphore(detail::IntrusivePtr<detail::SemaphoreState> state) : Semaphore(std::move(state)) {
  if (!this->state().bounded()) Reader::fail("a semaphore that is not bounded");
}

}  // namespace cofork::ipc
