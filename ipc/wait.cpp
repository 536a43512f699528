#include <poll.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/wait.hpp>
#include <deque>
#include <memory>
#include <string>
#include <system_error>

namespace cofork::detail {

class WaitSet {
 public:
  explicit WaitSet(std::vector<ipc::Waitable> objects) : objects_(std::move(objects)) {}
  WaitSet(const WaitSet&) = delete;
  WaitSet& operator=(const WaitSet&) = delete;
  ~WaitSet() {
    if (descriptor_watch_) SocketWatch::close(descriptor_watch_, nullptr);
  }

  /// Those that are ready now.
  std::vector<std::size_t> ready() {
    for (const ipc::Waitable& object : objects_)
      if (object.connection_) object.connection_->use();
    waiting_for_others();
    poll_until(descriptors(), Clock::time_point());
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < objects_.size(); ++i)
      if (is_ready(i)) indices.push_back(i);
    return indices;
  }

  void wait_here(std::optional<Clock::time_point> deadline) { poll_until(descriptors(), deadline); }

  /// Resumes `waiter` when something may be ready.
  void tell(Waiter& waiter) {
    entries_.clear();
    for (const ipc::Waitable& object : objects_)
      if (object.connection_) object.connection_->watch().tell_when_readable(entry_for(waiter));
    if (SocketWatch* const watch = descriptor_watch()) watch->tell_when_readable(entry_for(waiter));
  }

 private:
  /// What poll(2) is to look at: for each object its descriptor, and the line of a connection, or nothing.
  std::span<pollfd> descriptors() {
    polled_.clear();
    for (const ipc::Waitable& object : objects_) {
      const ConnectionState* const connection = object.connection_.get();
      const int descriptor = connection ? connection->socket_descriptor() : object.descriptor_;
      if (descriptor < 0) throw_not_open(descriptor);
      polled_.push_back({descriptor, POLLIN, 0});
      polled_.push_back({connection ? connection->line_descriptor() : -1, 0, 0});
    }
    return polled_;
  }

  bool is_ready(std::size_t index) const {
    const pollfd& descriptor = polled_[2 * index];
    if ((descriptor.revents & POLLNVAL) != 0) throw_not_open(descriptor.fd);
    return descriptor.revents != 0 || polled_[2 * index + 1].revents != 0;
  }

  [[noreturn]] static void throw_not_open(int descriptor) {
    throw std::system_error(EBADF, std::generic_category(), "waiting for descriptor " + std::to_string(descriptor));
  }

  WatchEntry& entry_for(Waiter& waiter) {
    WatchEntry& entry = entries_.emplace_back();
    entry.waiter = &waiter;
    return entry;
  }

  /// On all descriptors that are not connections', which others may be watching too; null if there are none.
  SocketWatch* descriptor_watch() {
    if (descriptor_watch_) return descriptor_watch_.get();
    for (const ipc::Waitable& object : objects_) {
      if (object.connection_) continue;
      if (!epoll_.valid()) epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
      epoll_event event = {};
      event.events = EPOLLIN;
      if (!epoll_.valid() ||
          (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, object.descriptor_, &event) < 0 && errno != EEXIST))
        throw std::system_error(errno, std::generic_category(),
                                "waiting for descriptor " + std::to_string(object.descriptor_));
    }
    if (epoll_.valid()) descriptor_watch_ = SocketWatch::create(epoll_.get(), -1);
    return descriptor_watch_.get();
  }

  const std::vector<ipc::Waitable> objects_;
  std::vector<pollfd> polled_;
  ipc::Descriptor epoll_;
  std::shared_ptr<SocketWatch> descriptor_watch_;
  std::deque<WatchEntry> entries_;  // they leave the watches before those are closed
};

namespace {

/// Waits until something in the set may be ready, or the deadline has passed: then it gives false.
class WaitSetAwaiter {
 public:
  WaitSetAwaiter(WaitSet& set, std::optional<Clock::time_point> deadline) noexcept : set_(set), deadline_(deadline) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    Context* const context = context_of(handle);
    if (context && context->cancelled()) throw CancelledError();
    set_.tell(node_);
    node_.suspend(handle, context, "connections", &Node::cancel);
    if (deadline_) node_.start(*deadline_, &Node::expire);
  }
  bool await_resume() const {
    if (node_.cancelled()) throw CancelledError();
    return !node_.expired;
  }

 private:
  struct Node : Waiter, Timer {
    bool expired = false;
    static void expire(Timer& timer) noexcept {
      auto& self = static_cast<Node&>(timer);
      self.expired = true;
      self.resume_later();
    }
    static void cancel(Waiter& waiter) noexcept {
      static_cast<Node&>(waiter).stop();
      waiter.resume_cancelled();
    }
  };

  WaitSet& set_;
  std::optional<Clock::time_point> deadline_;
  Node node_;
};

std::optional<Clock::time_point> deadline_of(std::optional<std::chrono::nanoseconds> timeout) {
  if (!timeout) return std::nullopt;
  return deadline_after(*timeout);
}

}  // namespace
}  // namespace cofork::detail

namespace cofork::ipc {

Task<std::vector<std::size_t>> wait(std::vector<Waitable> objects, std::optional<std::chrono::nanoseconds> timeout) {
  const std::optional<detail::Clock::time_point> deadline = detail::deadline_of(timeout);
  detail::WaitSet set(std::move(objects));
  std::vector<std::size_t> ready = set.ready();
  bool in_time = !timeout || *timeout > timeout->zero();
  while (ready.empty() && in_time) {
    in_time = co_await detail::WaitSetAwaiter(set, deadline);
    ready = set.ready();
  }
  co_return ready;
}

std::vector<std::size_t> blocking_wait(std::vector<Waitable> objects, std::optional<std::chrono::nanoseconds> timeout) {
  detail::require_no_loop("blocking_wait");
  const std::optional<detail::Clock::time_point> deadline = detail::deadline_of(timeout);
  detail::WaitSet set(std::move(objects));
  std::vector<std::size_t> ready = set.ready();
  while (ready.empty() && (!deadline || detail::Clock::now() < *deadline)) {
    set.wait_here(deadline);
    ready = set.ready();
  }
  return ready;
}

}  // namespace cofork::ipc
