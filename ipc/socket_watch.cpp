#include <uv.h>

#include <cofork/ipc/socket_watch.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <utility>

namespace cofork::detail {

struct SocketWatch::Poll {
  uv_poll_t poll;
  int armed = 0;
  SocketWatch* watch = nullptr;

  void stop() noexcept {
    if (std::exchange(armed, 0) != 0) uv_poll_stop(&poll);
  }
  void close() noexcept {
    stop();
    watch = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll),
             [](uv_handle_t* handle) { delete static_cast<Poll*>(handle->data); });
  }
};

std::shared_ptr<SocketWatch> SocketWatch::create(int socket, int line) {
  return std::make_shared<SocketWatch>(Loop::current(), socket, line);
}

SocketWatch::SocketWatch(Loop& loop, int socket, int line)
    : loop_(&loop), generation_(fork_generation()), socket_(socket), line_(line) {
  loop.resources().push_back(*this);
}

SocketWatch::~SocketWatch() {
  if (loop_ && generation_ == fork_generation()) close_polls();
}

bool SocketWatch::usable_here() const noexcept {
  const std::lock_guard lock(mutex_);
  return loop_ != nullptr && loop_ == current_loop && generation_ == fork_generation();
}

bool SocketWatch::of_this_process() const noexcept { return generation_ == fork_generation(); }

bool SocketWatch::closed() const noexcept {
  const std::lock_guard lock(mutex_);
  return loop_ == nullptr;
}

void SocketWatch::arm(Poll*& poll, int descriptor, int events) {
  if (!poll) {
    auto fresh = std::make_unique<Poll>();
    check_uv(uv_poll_init(loop_->uv(), &fresh->poll, descriptor), "uv_poll_init");
    poll = fresh.release();
    poll->poll.data = poll;
    poll->watch = this;
  }
  if ((poll->armed & events) == events) return;
  const int all = poll->armed | events;
  const auto on_event = [](uv_poll_t* handle, int status, int ready) {
    auto* const self = static_cast<Poll*>(handle->data);
    // After an error (a peer that is gone is one) libuv has stopped watching.
    if (status < 0) self->armed = 0;
    if (self == self->watch->line_poll_)
      self->watch->line_ready();
    else
      self->watch->socket_ready(status, ready);
  };
  check_uv(uv_poll_start(&poll->poll, all, on_event), "uv_poll_start");
  poll->armed = all;
}

void SocketWatch::tell_when_readable(WatchEntry& entry) {
  arm(socket_poll_, socket_, UV_READABLE);
  if (line_ >= 0) arm(line_poll_, line_, UV_READABLE);
  readers_.push_back(entry);
}

void SocketWatch::tell_when_writable(WatchEntry& entry) {
  arm(socket_poll_, socket_, UV_WRITABLE);
  if (line_ >= 0) arm(line_poll_, line_, UV_READABLE);
  writers_.push_back(entry);
}

void SocketWatch::tell(List<WatchEntry>& entries, bool everybody) noexcept {
  bool took = false;
  entries.for_each([&](WatchEntry& entry) {
    if (entry.takes && std::exchange(took, true) && !everybody) return;
    static_cast<Link<WatchEntry>&>(entry).unlink();
    entry.waiter->resume_later();
  });
}

void SocketWatch::socket_ready(int status, int events) noexcept {
  if (status < 0) {
    tell(readers_, true);
    tell(writers_, true);
    return;
  }
  // What nobody waits for any more is not watched from the next turn on.
  int wanted = socket_poll_->armed;
  if ((events & UV_READABLE) != 0) {
    if (readers_.empty()) wanted &= ~UV_READABLE;
    tell(readers_, false);
  }
  if ((events & UV_WRITABLE) != 0) {
    tell(writers_, false);
    if (writers_.empty()) wanted &= ~UV_WRITABLE;
  }
  if (wanted == socket_poll_->armed) return;
  socket_poll_->stop();
  if (wanted == 0) return;
  try {
    arm(socket_poll_, socket_, wanted);
  } catch (const std::system_error&) {
    tell(readers_, true);  // they try again, and are told why it does not work
    tell(writers_, true);
  }
}

void SocketWatch::line_ready() noexcept {
  if (readers_.empty() && writers_.empty()) line_poll_->stop();
  tell(readers_, true);
  tell(writers_, true);
}

void SocketWatch::close_polls() noexcept {
  static_cast<Link<LoopResource>&>(*this).unlink();
  for (Poll** poll : {&socket_poll_, &line_poll_})
    if (*poll) std::exchange(*poll, nullptr)->close();
}

void SocketWatch::loop_closing() noexcept {
  {
    const std::lock_guard lock(mutex_);
    loop_ = nullptr;
  }
  close_polls();
}

void SocketWatch::close(const std::shared_ptr<SocketWatch>& watch, const std::shared_ptr<void>& keep_open) noexcept {
  if (watch->generation_ != fork_generation()) {
    // Of what the loop knows of it nothing may be touched, so it stays as it is.
    static std::vector<std::shared_ptr<SocketWatch>>* const abandoned = new std::vector<std::shared_ptr<SocketWatch>>;
    abandoned->push_back(watch);
    return;
  }
  std::unique_lock lock(watch->mutex_);
  if (!watch->loop_) return;
  if (watch->loop_ == current_loop) {
    lock.unlock();
    watch->loop_closing();
    return;
  }
  // The loop cannot end while it is asked for, as it closes the watch first.
  watch->loop_->post([watch, keep_open] {
    if (!watch->closed()) watch->loop_closing();
  });
}

SocketWatch& SocketWatches::here(int socket, int line) {
  for (auto at = watches_.begin(); at != watches_.end();) {
    if ((*at)->usable_here()) return **at;
    const bool stale = (*at)->closed() || !(*at)->of_this_process();
    if (stale) SocketWatch::close(*at, nullptr);
    at = stale ? watches_.erase(at) : at + 1;
  }
  watches_.push_back(SocketWatch::create(socket, line));
  return *watches_.back();
}

void SocketWatches::close(const std::shared_ptr<void>& keep_open) noexcept {
  for (const std::shared_ptr<SocketWatch>& watch : watches_) SocketWatch::close(watch, keep_open);
  watches_.clear();
}

void ReadyAwaiter::Node::expire(Timer& timer) noexcept {
  auto& self = static_cast<Node&>(timer);
  self.expired = true;
  static_cast<Link<WatchEntry>&>(self.entry).unlink();
  self.resume_later();
}

void ReadyAwaiter::Node::cancel(Waiter& waiter) noexcept {
  auto& self = static_cast<Node&>(waiter);
  self.stop();
  static_cast<Link<WatchEntry>&>(self.entry).unlink();
  self.resume_cancelled();
}

bool ReadyAwaiter::suspend(std::coroutine_handle<> handle, Context* context) {
  if (context && context->cancelled()) {
    cancelled_ = true;
    return false;
  }
  node_.entry.waiter = &node_;
  node_.entry.takes = purpose_ != For::looking;
  if (purpose_ == For::writing)
    watch_.tell_when_writable(node_.entry);
  else
    watch_.tell_when_readable(node_.entry);
  const char* const what = purpose_ == For::writing ? "room in a connection" : "a message";
  node_.suspend(handle, context, what, &Node::cancel);
  if (deadline_) node_.start(*deadline_, &Node::expire);
  return true;
}

}  // namespace cofork::detail
