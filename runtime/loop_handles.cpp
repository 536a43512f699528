#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cofork/runtime/loop_handles.hpp>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <system_error>
#include <utility>

namespace cofork::detail {

void check_uv(int status, const char* operation) {
  if (status < 0) throw std::system_error(-status, std::generic_category(), operation);
}

LoopHandles::LoopHandles(uv_loop_t* borrowed, void (*on_timer)(void*), void* argument)
    : loop_(borrowed ? borrowed : &own_), on_timer_(on_timer), argument_(argument) {
  door_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (door_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  if (!borrowed) {
    const int status = uv_loop_init(&own_);
    if (status < 0) {
      ::close(door_);
      check_uv(status, "uv_loop_init");
    }
  }
  uv_timer_init(loop_, &timer_);  // cannot fail
  timer_.data = this;
  open_door();
}

void LoopHandles::open_door() {
  const auto on_knock = [](uv_poll_t* poll, int, int) { static_cast<LoopHandles*>(poll->data)->drain_door(); };
  int status = uv_poll_init(loop_, &door_poll_, door_);
  const bool initialised = status == 0;
  if (initialised) {
    door_poll_.data = this;
    status = uv_poll_start(&door_poll_, UV_READABLE, on_knock);
  }
  if (status == 0) return;
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), nullptr);
  if (initialised) uv_close(reinterpret_cast<uv_handle_t*>(&door_poll_), nullptr);
  uv_run(loop_, UV_RUN_NOWAIT);
  if (loop_ == &own_) uv_loop_close(&own_);
  ::close(door_);
  check_uv(status, "uv_poll_start");
}

LoopHandles::~LoopHandles() {
  int closing = 2;
  timer_.data = door_poll_.data = &closing;
  const auto on_close = [](uv_handle_t* handle) { --*static_cast<int*>(handle->data); };
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), on_close);
  uv_close(reinterpret_cast<uv_handle_t*>(&door_poll_), on_close);
  while (closing > 0) uv_run(loop_, UV_RUN_NOWAIT);
  ::close(door_);
  if (loop_ != &own_) return;
  if (uv_loop_close(&own_) == 0) return;
  // Requests in libuv's thread pool end by themselves; a handle that is still open is a mistake of the program.
  unsigned left = 0;
  uv_walk(
      &own_,
      [](uv_handle_t* handle, void* count) {
        if (uv_is_closing(handle)) return;
        ++*static_cast<unsigned*>(count);
        uv_close(handle, nullptr);
      },
      &left);
  if (left > 0) std::fprintf(stderr, "cofork: closed %u libuv handle(s) that were still open when run() ended\n", left);
  uv_run(&own_, UV_RUN_DEFAULT);
  uv_loop_close(&own_);
}

void LoopHandles::post(std::function<void()> function) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(function));
  }
  if (!first) return;
  const std::uint64_t one = 1;
  // The counter cannot overflow: it is drained whenever the queue is.
  while (::write(door_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void LoopHandles::drain_door() {
  std::uint64_t knocks;
  while (::read(door_, &knocks, sizeof knocks) < 0 && errno == EINTR) {
  }
  std::vector<std::function<void()>> posted;
  {
    std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (std::function<void()>& function : posted) {
    [&]() noexcept { function(); }();
    function = nullptr;
  }
}

void LoopHandles::turn(bool may_block, const Clock::time_point* deadline) {
  // A timer that is set too early costs one turn; setting it anew for every change would cost more.
  if (deadline && (*deadline < armed_for_ || !uv_is_active(reinterpret_cast<uv_handle_t*>(&timer_)))) {
    // libuv counts whole milliseconds from its own cached time: never wake before the deadline.
    uv_update_time(loop_);
    const Clock::time_point now = Clock::now();
    const Clock::duration left = *deadline > now ? *deadline - now : Clock::duration::zero();
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    const auto on_timer = [](uv_timer_t* timer) {
      auto* self = static_cast<LoopHandles*>(timer->data);
      self->on_timer_(self->argument_);
      // Until 1.45 timers run before the poll, which would go on to block although there is something to do now.
      uv_stop(timer->loop);
    };
    check_uv(uv_timer_start(&timer_, on_timer, static_cast<std::uint64_t>(milliseconds), 0), "uv_timer_start");
    armed_for_ = *deadline;
  }
  uv_run(loop_, may_block ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

}  // namespace cofork::detail
