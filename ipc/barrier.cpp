#include <cofork/ipc/barrier.hpp>
#include <cofork/runtime/errors.hpp>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {

constexpr std::uint32_t kind_of_barrier = 7;

std::uint64_t pack(std::uint32_t round, std::uint32_t rest) noexcept { return std::uint64_t{round} << 32 | rest; }
std::uint32_t round_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 32); }
std::uint32_t rest_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word); }

Task<unsigned> wait_at(IntrusivePtr<BarrierState> barrier) {
  BarrierState::Party party(barrier);
  auto attempt = [&party] { return party.attempt(); };
  Task<bool> wait = wait_until(barrier, attempt, std::nullopt);
  co_await std::move(wait);
  co_return party.index();
}

}  // namespace

BarrierState::BarrierState(unsigned parties) : Monitor(name, kind_of_barrier, sizeof(Memory)) {
  counts().parties = parties;
}
BarrierState::BarrierState(ipc::Reader& reader) : Monitor(name, kind_of_barrier, sizeof(Memory), reader) {
  if (parties() == 0) ipc::Reader::fail("a barrier for nobody");
}

BarrierState::Phase BarrierState::phase() const noexcept {
  const std::uint64_t word = counts().phase.load();
  return {round_of(word), static_cast<Mode>(rest_of(word))};
}

void BarrierState::set_phase(Phase phase) noexcept {
  counts().phase.store(pack(phase.round, static_cast<std::uint32_t>(phase.mode)));
}

unsigned BarrierState::waiting_at(std::uint32_t place, std::uint32_t round) noexcept {
  const std::uint64_t word = member(place).word[0].load();
  return round_of(word) == round ? rest_of(word) : 0;
}

void BarrierState::set_waiting(std::uint32_t round, unsigned n) noexcept {
  member(place()).word[0].store(pack(round, n));
}

unsigned BarrierState::waiting(std::uint32_t round) noexcept {
  unsigned n = 0;
  const std::uint32_t used = places_used();
  for (std::uint32_t place = 0; place < used; ++place) n += waiting_at(place, round);
  return n;
}

BarrierState::Phase BarrierState::settle() noexcept {
  const Phase now = phase();
  if (!now.is_draining() || waiting(now.round) > 0) return now;
  const Phase next{now.round + 1, now.is_broken() ? Mode::broken : Mode::filling};
  set_phase(next);
  return next;
}

void BarrierState::leave_round(std::uint32_t round) noexcept {
  if (const unsigned n = waiting_at(place(), round); n > 0) set_waiting(round, n - 1);
}

void BarrierState::reset() {
  {
    const MonitorLock lock(*this);
    // Those of a round that is draining are through.
    const Phase now = settle();
    set_phase(now.is_draining() ? Phase{now.round, Mode::draining} : Phase{now.round + 1, Mode::filling});
  }
  changed();
}

void BarrierState::abort() {
  {
    const MonitorLock lock(*this);
    set_phase({settle().round, Mode::broken});
  }
  changed();
}

unsigned BarrierState::n_waiting() {
  remove_dead_members();
  const MonitorLock lock(*this);
  const Phase now = settle();
  return now.mode == Mode::filling ? waiting(now.round) : 0;
}

BarrierState::Party::~Party() {
  if (stage_ != Stage::inside) return;
  try {
    const MonitorLock lock(*barrier_);
    barrier_->leave_round(round_);
  } catch (const std::system_error&) {
    // It counts until this process leaves.
  }
  barrier_->changed();
}

bool BarrierState::Party::attempt() {
  const Phase seen = barrier_->phase();
  if (stage_ == Stage::inside && seen.round == round_ && seen.mode == Mode::filling) return false;
  {
    const MonitorLock lock(*barrier_);
    if (stage_ == Stage::before)
      arrive();
    else if (stage_ == Stage::inside)
      depart();
  }
  if (stage_ == Stage::through || stage_ == Stage::broken) {
    barrier_->changed();
    return true;
  }
  return false;
}

void BarrierState::Party::arrive() {
  const Phase now = barrier_->settle();
  if (now.mode == Mode::draining) return;
  round_ = now.round;
  if (now.is_broken()) {
    stage_ = Stage::broken;
    return;
  }
  const unsigned others = barrier_->waiting(round_);
  if (others + 1 < barrier_->parties()) {
    barrier_->set_waiting(round_, barrier_->waiting_at(barrier_->place(), round_) + 1);
    stage_ = Stage::inside;
    return;
  }
  if (others > 0) barrier_->set_phase({round_, Mode::draining});
  index_ = others;
  stage_ = Stage::through;
}

void BarrierState::Party::depart() {
  const Phase now = barrier_->phase();
  if (now.round == round_ && now.mode == Mode::filling) return;
  if (now.round == round_ && now.is_draining()) {
    std::atomic<std::uint64_t>& departed = barrier_->counts().departed;
    const std::uint64_t before = departed.load();
    index_ = round_of(before) == round_ ? rest_of(before) : 0;
    departed.store(pack(round_, index_ + 1));
    stage_ = Stage::through;
  } else {
    stage_ = Stage::broken;
  }
  barrier_->leave_round(round_);
  barrier_->settle();
}

void BarrierState::Party::give_up() {
  {
    const MonitorLock lock(*barrier_);
    if (stage_ == Stage::inside) depart();
    if (stage_ != Stage::through && stage_ != Stage::broken) {
      // Those of a round that is draining are through.
      const Phase now = barrier_->settle();
      barrier_->set_phase({now.round, now.is_draining() ? Mode::last : Mode::broken});
      if (stage_ == Stage::inside) barrier_->leave_round(round_);
      stage_ = Stage::broken;
    }
  }
  // Also when it went through in the end: others may wait for the last one to leave.
  barrier_->changed();
}

unsigned BarrierState::Party::index() const {
  if (stage_ == Stage::broken) throw BrokenBarrier("the barrier is broken");
  return index_;
}

}  // namespace cofork::detail

namespace cofork::ipc {

Barrier::Barrier(unsigned parties)
    : StateHandle(parties > 0 ? detail::make_intrusive<detail::BarrierState>(parties)
                              : throw std::invalid_argument("Barrier: the number of parties must be positive")) {}

Task<unsigned> Barrier::wait() const { return detail::wait_at(shared_state()); }

unsigned Barrier::blocking_wait(std::optional<std::chrono::nanoseconds> timeout) const {
  detail::require_no_loop("Barrier::blocking_wait");
  const detail::IntrusivePtr<detail::BarrierState> barrier = shared_state();
  detail::BarrierState::Party party(barrier);
  if (!detail::blocking_wait_until(
          *barrier, [&] { return party.attempt(); }, detail::deadline_of(timeout)))
    party.give_up();
  return party.index();
}

}  // namespace cofork::ipc
