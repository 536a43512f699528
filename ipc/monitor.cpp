#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cofork/ipc/monitor.hpp>
#include <cofork/runtime/errors.hpp>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {
constexpr std::uint64_t magic = 0x6b726f666f63'0302;
constexpr std::uint64_t place_mask = 0xffff;  // of a lock word
static_assert(MonitorHeader::max_members < place_mask);
constexpr unsigned yields_before_suspicion = 100;
constexpr long longest_pause_ns = 1'000'000;

std::uint64_t next_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

Monitor::Monitor(const char* what, std::uint32_t kind, std::size_t state_size)
    : HandleState(what),
      memory_(ipc::MemoryFile::create("cofork-channel", sizeof(MonitorHeader) + state_size)),
      bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      generation_(fork_generation()),
      id_(next_id()) {
  if (!bell_.valid()) throw std::system_error(errno, std::generic_category(), "eventfd");
  memory_.seal_shrink();
  map(state_size);
  header_->magic = magic;
  header_->kind = kind;
  header_->state_size = static_cast<std::uint32_t>(state_size);
}

Monitor::Monitor(const char* what, std::uint32_t kind, std::size_t state_size, ipc::Reader& reader)
    : HandleState(what),
      memory_(reader.descriptor()),
      bell_(reader.descriptor()),
      generation_(fork_generation()),
      id_(next_id()) {
  if (!ipc::cannot_shrink(memory_.descriptor()) || memory_.size() < sizeof(MonitorHeader) + state_size)
    ipc::Reader::fail("a channel whose memory is none");
  map(state_size);
  if (header_->magic != magic || header_->kind != kind || header_->state_size != state_size)
    ipc::Reader::fail("a channel of another kind");
}

void Monitor::map(std::size_t state_size) {
  mapping_ = ipc::Mapping(memory_.descriptor(), sizeof(MonitorHeader) + state_size, ipc::Mapping::Access::read_write,
                          ipc::Mapping::OnFork::keep);
  header_ = reinterpret_cast<MonitorHeader*>(mapping_.data());
}

Monitor::~Monitor() {
  if (!given() || generation_ != fork_generation()) return;
  leave_sleepers();
  leave();
}

void Monitor::close_in_child() noexcept {
  leave_sleepers();
  leave();
  watched_.clear();
  HandleState::close_in_child();
}

void Monitor::leave_sleepers() noexcept {
  for (const auto& watched_by : watched_by_) {
    const std::shared_ptr<MonitorWatcher> watcher = watched_by.lock();
    if (!watcher) continue;
    ::epoll_ctl(watcher->epoll.get(), EPOLL_CTL_DEL, bell(), nullptr);
    try {
      const std::lock_guard guard(watcher->mutex);
      watcher->ended.push_back(id_);
    } catch (const std::bad_alloc&) {
      // It is forgotten when the loop ends.
    }
  }
}

void Monitor::leave() noexcept {
  if (!given() || generation_ != fork_generation() || place_.load(std::memory_order_relaxed) == no_place) return;
  try {
    lock();
    clear(place());
    unlock();
    member(place_.exchange(no_place)).identity.store(0);
    changed();
  } catch (const std::system_error&) {
    // The others will take it for dead when this process ends.
  }
}

void Monitor::watched_by(std::shared_ptr<MonitorWatcher> watcher) {
  const std::lock_guard guard(mutex_);
  std::erase_if(watched_by_, [](const auto& other) { return other.expired(); });
  watched_by_.push_back(std::move(watcher));
}

void Monitor::encode(ipc::Writer& writer) const {
  check_given();
  writer.descriptor(memory_.descriptor());
  writer.descriptor(bell_.get());
}

std::uint32_t Monitor::places_used() const noexcept {
  return std::min(header_->places_used.load(std::memory_order_acquire), MonitorHeader::max_members);
}

std::uint32_t Monitor::join() {
  if (generation_.load(std::memory_order_relaxed) != fork_generation()) [[unlikely]]
    forget_parent();
  const std::uint32_t place = place_.load(std::memory_order_acquire);
  return place != no_place ? place : take_place();
}

std::uint32_t Monitor::take_place() {
  check_given();
  const std::lock_guard guard(mutex_);
  if (const std::uint32_t place = place_.load(std::memory_order_relaxed); place != no_place) return place;
  const ProcessIdentity identity = own_identity();
  for (bool looked_for_dead = false;; looked_for_dead = true) {
    for (std::uint32_t place = 0; place < MonitorHeader::max_members; ++place) {
      ProcessIdentity free = 0;
      if (!header_->members[place].identity.compare_exchange_strong(free, identity)) continue;
      std::uint32_t used = header_->places_used.load();
      while (used <= place && !header_->places_used.compare_exchange_weak(used, place + 1)) {
      }
      become_member(place);
      place_.store(place, std::memory_order_release);
      changed_atomically();
      return place;
    }
    if (looked_for_dead)
      throw std::system_error(EUSERS, std::generic_category(),
                              std::string("too many processes use this ") + this->what());
    // Takes over the place of a process that ended without anybody having noticed, with all that it held. The place is
    // never empty: should this process die here, the next one to look takes over both.
    for (std::uint32_t place = 0; place < MonitorHeader::max_members; ++place) {
      ProcessIdentity other = header_->members[place].identity.load();
      if (other == 0 || !has_ended(open_process(other))) continue;
      if (!header_->members[place].identity.compare_exchange_strong(other, identity)) continue;
      become_member(place);
      try {
        take_lock();
      } catch (const std::system_error&) {
        header_->members[place].identity.store(other);
        // Who has seen this process there looks again.
        header_->members_version.fetch_add(1, std::memory_order_seq_cst);
        changed_atomically();
        throw;
      }
      clear(place);
      unlock();
      place_.store(place, std::memory_order_release);
      changed_atomically();
      return place;
    }
  }
}

void Monitor::become_member(std::uint32_t place) noexcept {
  const std::uint64_t version = header_->members_version.fetch_add(1, std::memory_order_seq_cst) + 1;
  lock_word_.store(version * (place_mask + 1) + place + 1, std::memory_order_relaxed);
}

void Monitor::lock() {
  join();
  take_lock();
}

void Monitor::take_lock() {
  const std::uint64_t own = lock_word_.load(std::memory_order_relaxed);
  for (unsigned tries = 0;; ++tries) {
    std::uint64_t holder = 0;
    if (header_->lock.compare_exchange_weak(holder, own, std::memory_order_seq_cst)) return;
    if (holder == 0) continue;
    if (tries % yields_before_suspicion != yields_before_suspicion - 1) {
      ::sched_yield();
      continue;
    }
    if (take_lock_from_dead(holder)) return;
    if (tries < 10 * yields_before_suspicion) continue;
    // It is held for a large message, or its owner was stopped.
    const timespec pause = {0, std::min<long>(50'000L * (tries / (10 * yields_before_suspicion)), longest_pause_ns)};
    ::nanosleep(&pause, nullptr);
  }
}

bool Monitor::take_lock_from_dead(std::uint64_t holder) {
  const std::uint64_t own = lock_word_.load(std::memory_order_relaxed);
  const std::uint64_t place = (holder & place_mask) - 1;
  if (place >= MonitorHeader::max_members || holder == own) return false;
  // Whoever had this process's place before is dead.
  if (place != (own & place_mask) - 1) {
    const ProcessIdentity identity = header_->members[place].identity.load();
    if (identity == 0 || identity == own_identity() || !has_ended(open_process(identity))) return false;
  }
  // If this finds the holder's word still there, nobody came to its place meanwhile: each member has its own.
  return header_->lock.compare_exchange_strong(holder, own, std::memory_order_seq_cst);
}

void Monitor::clear(std::uint32_t place) noexcept {
  member_gone(place);
  for (auto& word : header_->members[place].word) word.store(0);
}

void Monitor::ring(std::uint64_t asleep) noexcept {
  const std::uint64_t one = 1;
  while (::write(bell_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
  header_->rung.store(asleep, std::memory_order_relaxed);
}

std::vector<Monitor::Watched> Monitor::watch_members() {
  remove_dead_members();
  const std::lock_guard guard(mutex_);
  return watched_;
}

void Monitor::remove_dead_members() {
  join();
  // Somebody may take over a place meanwhile, who is to be watched then.
  for (Places dead = look_for_dead(); !dead.empty(); dead = look_for_dead()) {
    for (const auto& [place, identity] : dead) {
      lock();
      if (ProcessIdentity still = identity; header_->members[place].identity.load() == still) {
        clear(place);
        header_->members[place].identity.compare_exchange_strong(still, 0);  // unless it was taken over
      }
      unlock();
    }
    changed_atomically();
  }
}

Monitor::Places Monitor::look_for_dead() {
  const std::lock_guard guard(mutex_);
  Places dead;
  std::vector<Watched> watched;
  const std::uint32_t used = places_used();
  for (std::uint32_t place = 0; place < used; ++place) {
    const ProcessIdentity identity = header_->members[place].identity.load();
    if (identity == 0 || identity == own_identity()) continue;
    const auto known = std::find_if(watched_.begin(), watched_.end(),
                                    [&](const Watched& other) { return other.identity == identity; });
    const std::shared_ptr<ipc::Descriptor> pidfd =
        known != watched_.end() ? known->pidfd : std::make_shared<ipc::Descriptor>(open_process(identity));
    if (has_ended(*pidfd)) {
      dead.emplace_back(place, identity);
    } else {
      watched.push_back({identity, pidfd});
    }
  }
  watched_ = std::move(watched);
  return dead;
}

void Monitor::list_descriptors(std::vector<int>& to) const {
  if (!given()) return;
  to.push_back(memory_.descriptor());
  to.push_back(bell_.get());
}

void Monitor::forget_parent() noexcept {
  // Another thread of the parent may have held it, in the middle of changing what it guards: that is left as it is. The
  // pidfds are the parent's, and so are their numbers here.
  new (&mutex_) std::mutex;
  new (&watched_) std::vector<Watched>;
  new (&watched_by_) std::vector<std::weak_ptr<MonitorWatcher>>;
  place_ = no_place;
  generation_ = fork_generation();
}

void Monitor::after_fork_in_child(bool given) noexcept {
  forget_parent();
  if (given) return;
  static_cast<void>(memory_.release().release());
  static_cast<void>(bell_.release());
}

}  // namespace cofork::detail
