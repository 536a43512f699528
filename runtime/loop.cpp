#include <sched.h>

#include <algorithm>
#include <cofork/runtime/callback_frame.hpp>
#include <cofork/runtime/frame_allocator.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <stdexcept>
#include <utility>

namespace cofork {

namespace {
// Turns of the ready queue between two looks at libuv, when there is always something ready.
constexpr unsigned turns_between_io = 64;
// How much stack coroutines that start or resume one another inside a turn may use.
constexpr std::size_t stack_for_coroutines = 256 * 1024;
// How long a poller is asked again before the loop sleeps.
constexpr std::chrono::microseconds spin_time{20};
}  // namespace

void detail::resume_next(std::coroutine_handle<> coroutine) noexcept {
  if (stack_is_deep()) [[unlikely]]
    current_loop->defer(coroutine);
  else
    resume_without_throwing(coroutine);
}

Loop& Loop::current() {
  if (!detail::current_loop) throw std::logic_error("no event loop is running on this thread: use cofork::run()");
  return *detail::current_loop;
}

Loop::Loop(uv_loop_s* borrowed) {
  if (detail::current_loop) throw std::logic_error("an event loop is already running on this thread");
  const auto on_timer = [](void* self) { static_cast<Loop*>(self)->expire_timers(); };
  handles_ = std::make_unique<detail::LoopHandles>(borrowed, on_timer, this);
  detail::current_loop = this;
  detail::stack_limit = static_cast<const char*>(__builtin_frame_address(0)) - stack_for_coroutines;
  detail::FrameAllocator::keep_frames();
}

Loop::~Loop() {
  while (!resources_.empty()) resources_.pop_front().loop_closing();
  handles_.reset();
  detail::FrameAllocator::release_frames();
  detail::stack_limit = nullptr;
  detail::current_loop = nullptr;
}

void Loop::post(std::function<void()> function) { handles_->post(std::move(function)); }

uv_loop_s* Loop::uv() const noexcept { return handles_->loop(); }

void Loop::defer(std::coroutine_handle<> handle) { deferred_.push_back(handle); }

void Loop::forget(std::coroutine_handle<> handle) noexcept { std::erase(deferred_, handle); }

void Loop::expire_timers() { timers_.expire(detail::Clock::now()); }

void Loop::run_ready() {
  ++turn_;
  // A snapshot: what becomes ready meanwhile has its turn after everything that is ready now.
  detail::List<detail::Waiter> batch;
  batch.splice_back(ready_);
  std::size_t deferred = deferred_.size();
  while (!batch.empty()) batch.pop_front().handle().resume();
  while (deferred-- > 0 && !deferred_.empty()) {
    const std::coroutine_handle<> handle = deferred_.front();
    deferred_.erase(deferred_.begin());
    handle.resume();
  }
}

bool Loop::poll() {
  bool arrived = false;
  pollers_.for_each([&](detail::Poller& poller) { arrived |= poller.poll(); });
  return arrived;
}

bool Loop::spin() {
  bool worth_it = false;
  pollers_.for_each([&](detail::Poller& poller) { worth_it |= poller.worth_spinning(); });
  if (!worth_it) return false;
  const auto end = detail::Clock::now() + spin_time;
  do {
    ::sched_yield();
    if (poll()) return true;
  } while (detail::Clock::now() < end);
  return false;
}

void Loop::wait_for_events() {
  const auto is_ready = [this] { return !ready_.empty() || !deferred_.empty(); };
  bool ready = (!pollers_.empty() && poll()) || is_ready();
  if (ready && ++turns_without_io_ < turns_between_io) return;
  if (!ready && !pollers_.empty() && spin() && ++turns_without_io_ < turns_between_io) return;
  turns_without_io_ = 0;
  ready = ready || is_ready();
  bool told_pollers = false;
  if (!ready && !pollers_.empty()) {
    told_pollers = true;
    pollers_.for_each([&](detail::Poller& poller) { ready |= !poller.prepare_to_sleep(); });
    ready = ready || is_ready();
  }
  if (timers_.empty()) {
    handles_->turn(!ready, nullptr);
  } else {
    const detail::Clock::time_point earliest = timers_.earliest();
    handles_->turn(!ready, &earliest);
  }
  if (told_pollers) pollers_.for_each([](detail::Poller& poller) { poller.awake(); });
}

namespace {
void dump(detail::Context& context, std::size_t depth, std::string& into) {
  into.append(2 * depth, ' ').append(context.name());
  if (const detail::Waiter* waiter = context.suspended()) into.append(": waits for ").append(waiter->what());
  if (context.cancelled()) into.append(" (cancelled)");
  into.push_back('\n');
  context.children().for_each([&](detail::Context& child) { dump(child, depth + 1, into); });
}
}  // namespace

std::string dump_tasks() {
  std::string tree;
  dump(Loop::current().root(), 0, tree);
  return tree;
}

}  // namespace cofork
