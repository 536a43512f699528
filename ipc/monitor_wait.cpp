#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cofork/ipc/monitor_wait.hpp>
#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/sleep.hpp>
#include <memory>
#include <mutex>
#include <system_error>
#include <unordered_map>

namespace cofork::detail {

namespace {

constexpr std::chrono::microseconds spin_time{20};

[[noreturn]] void throw_errno(const char* operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

Clock::time_point end_of_spinning(const Deadline& deadline) noexcept {
  const Clock::time_point end = Clock::now() + spin_time;
  return deadline ? std::min(*deadline, end) : end;
}

ipc::Descriptor make_epoll() {
  ipc::Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) throw_errno("epoll_create1");
  return epoll;
}

/// Edge-triggered: the bell is never emptied, and a hang-up or a death is told once.
void watch(const ipc::Descriptor& epoll, int descriptor, std::uint64_t id) {
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = id;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, descriptor, &event) < 0 && errno != EEXIST)
    throw_errno("watching a channel");
}

/// Adds those of `now` that are not in `watched` yet.
void watch_new(const ipc::Descriptor& epoll, std::vector<Monitor::Watched>& watched, std::vector<Monitor::Watched> now,
               std::uint64_t id) {
  for (const Monitor::Watched& member : now) {
    const bool known = std::any_of(watched.begin(), watched.end(),
                                   [&](const Monitor::Watched& other) { return other.pidfd == member.pidfd; });
    if (!known) watch(epoll, member.pidfd->get(), id);
  }
  watched = std::move(now);
}

/// The monitors that the coroutines of one loop wait for: one epoll set of its own, which the loop watches.
class MonitorHub final : public LoopResource {
 public:
  /// The current loop's.
  static MonitorHub& current();

  void announce(Monitor& monitor);
  void wait(Monitor& monitor, Waiter& waiter) { entries_.at(monitor.id()).waiters.push_back(waiter); }

  void loop_closing() noexcept override;

 private:
  struct Entry {
    List<Waiter> waiters;
    std::vector<Monitor::Watched> watched;
    std::uint64_t members_version = 0;  // 0: look who there is
  };
  static constexpr std::uint64_t death = std::uint64_t{1} << 63;

  MonitorHub();
  void look();
  void forget_ended();

  std::shared_ptr<MonitorWatcher> watcher_ = std::make_shared<MonitorWatcher>();
  std::unordered_map<std::uint64_t, Entry> entries_;
  unsigned generation_ = fork_generation();
  DescriptorWatch watch_;
};

thread_local MonitorHub* hub = nullptr;

MonitorHub& MonitorHub::current() {
  // After a fork the parent's is left alone.
  if (!hub || hub->generation_ != fork_generation()) hub = new MonitorHub;
  return *hub;
}

MonitorHub::MonitorHub() {
  watcher_->epoll = make_epoll();
  watch_ = DescriptorWatch(Loop::current().uv(), watcher_->epoll.get(), [this] { look(); });
  Loop::current().resources().push_back(*this);
}

void MonitorHub::loop_closing() noexcept {
  hub = nullptr;
  delete this;
}

void MonitorHub::forget_ended() {
  std::vector<std::uint64_t> ended;
  {
    const std::lock_guard guard(watcher_->mutex);
    ended.swap(watcher_->ended);
  }
  for (const std::uint64_t id : ended) entries_.erase(id);
}

void MonitorHub::announce(Monitor& monitor) {
  forget_ended();
  const auto [found, is_new] = entries_.try_emplace(monitor.id());
  Entry& entry = found->second;
  try {
    if (is_new) {
      const ipc::Descriptor& epoll = watcher_->epoll;
      watch(epoll, monitor.bell(), monitor.id());
      if (const int hang_up = monitor.hang_up_descriptor(); hang_up >= 0) watch(epoll, hang_up, monitor.id());
      monitor.watched_by(watcher_);
    }
    // In this order: who becomes a member after the look rings the bell.
    monitor.announce_sleep();
    if (const std::uint64_t version = monitor.members_version(); entry.members_version != version) {
      watch_new(watcher_->epoll, entry.watched, monitor.watch_members(), monitor.id() | death);
      entry.members_version = version;
    }
  } catch (...) {
    if (entry.waiters.empty()) entries_.erase(found);
    throw;
  }
}

void MonitorHub::look() {
  std::array<epoll_event, 64> events;
  const int n = ::epoll_wait(watcher_->epoll.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < n; ++i) {
    const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
    const auto found = entries_.find(id & ~death);
    if (found == entries_.end()) continue;
    // They look again, and take out the dead then, unless somebody has taken over a place, whom they watch.
    if (id & death) found->second.members_version = 0;
    while (!found->second.waiters.empty()) found->second.waiters.front().resume_later();
  }
}

}  // namespace

Deadline deadline_of(std::optional<std::chrono::nanoseconds> timeout) {
  if (!timeout) return std::nullopt;
  return deadline_after(*timeout);
}

void MonitorSleep::announce() { MonitorHub::current().announce(monitor_); }

Clock::time_point MonitorSleep::spin_end() const noexcept { return end_of_spinning(deadline_); }

bool MonitorSleep::suspend(std::coroutine_handle<> handle, Context* context) {
  if (context && context->cancelled()) {
    interrupted_ = true;
    return false;
  }
  node_.suspend(handle, context, "another process", [](Waiter& waiter) noexcept {
    static_cast<Node&>(waiter).stop();
    waiter.resume_cancelled();
  });
  if (deadline_)
    node_.start(*deadline_, [](Timer& timer) noexcept {
      auto& node = static_cast<Node&>(timer);
      node.expired = true;
      node.resume_later();
    });
  MonitorHub::current().wait(monitor_, node_);
  return true;
}

void MonitorSleep::await_resume() {
  node_.stop();
  if (interrupted_ || node_.cancelled()) throw CancelledError();
}

BlockingSleep::BlockingSleep(Monitor& monitor, Deadline deadline)
    : monitor_(monitor), deadline_(deadline), spin_end_(end_of_spinning(deadline)) {}

BlockingSleep::~BlockingSleep() = default;

bool BlockingSleep::spin() noexcept {
  if (Clock::now() >= spin_end_) return false;
  ::sched_yield();
  return true;
}

void BlockingSleep::announce() {
  if (!epoll_.valid()) {
    epoll_ = make_epoll();
    watch(epoll_, monitor_.bell(), 0);
    if (const int hang_up = monitor_.hang_up_descriptor(); hang_up >= 0) watch(epoll_, hang_up, 0);
  }
  // In this order: who becomes a member after the look rings the bell.
  monitor_.announce_sleep();
  if (const std::uint64_t version = monitor_.members_version(); members_version_ != version) {
    watch_new(epoll_, watched_, monitor_.watch_members(), 1);
    members_version_ = version;
  }
}

bool BlockingSleep::sleep() {
  int limit = -1;
  if (deadline_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - Clock::now()).count();
    if (left <= 0) return false;
    limit = static_cast<int>(std::min<long long>(left, 1'000'000));
  }
  std::array<epoll_event, 8> events;
  const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), limit);
  if (n < 0 && errno != EINTR) throw_errno("epoll_wait");
  if (std::any_of(events.begin(), events.begin() + std::max(n, 0),
                  [](const epoll_event& e) { return e.data.u64 == 1; }))
    members_version_ = 0;  // `announce` takes out the dead, unless somebody has taken over a place, whom it watches
  return true;
}

}  // namespace cofork::detail
