#include <uv.h>

#include <cofork/executors/worker_loop.hpp>
#include <cofork/runtime/frame_allocator.hpp>

namespace cofork::detail {

namespace {
// How much stack coroutines that start or resume one another inside a turn may use.
constexpr std::size_t stack_for_coroutines = 256 * 1024;
}  // namespace

WorkerLoop::~WorkerLoop() { bell_ = {}; }

void WorkerLoop::open() {
  loop_ = std::make_unique<Loop>();
  bell_ = DescriptorWatch(loop_->uv(), receiver_.loop_bell(), [this] { receiver_.clear_loop_bell(); });
  own_handles_ = handles();
}

WorkerLoop::Turn::Turn(WorkerLoop& loop) : loop_(loop) {
  loop_.outer_stack_limit_ = stack_limit;
  if (loop_.loop_) {
    current_loop = loop_.loop_.get();
    FrameAllocator::keep_frames();
  } else {
    loop_.open();
  }
  stack_limit = static_cast<const char*>(__builtin_frame_address(0)) - stack_for_coroutines;
  loop_.loop_->pollers().push_back(loop_);
}

WorkerLoop::Turn::~Turn() {
  loop_.main_ = nullptr;
  Link<Poller>& link = loop_;
  link.unlink();
  loop_.close_what_is_left();
  stack_limit = loop_.outer_stack_limit_;
  current_loop = nullptr;
}

void WorkerLoop::drive(Context& main, const bool& ended) {
  main_ = &main;
  loop_->run_until([&] { return ended; });
  main_ = nullptr;
  Context& root = loop_->root();
  if (root.children().empty()) return;
  root.cancel();
  loop_->run_until([&] { return root.children().empty(); });
  root.renew();
}

/// What a task left behind must not be found by the next one.
void WorkerLoop::close_what_is_left() noexcept {
  while (!loop_->resources().empty()) loop_->resources().pop_front().loop_closing();
  if (handles() == own_handles_) return;
  uv_run(loop_->uv(), UV_RUN_NOWAIT);  // for those that were closed
  if (handles() == own_handles_) return;
  // With handles of the task's own: they are closed, and told of, as at the end of any loop.
  bell_ = {};
  loop_.reset();
}

unsigned WorkerLoop::handles() const noexcept {
  unsigned count = 0;
  uv_walk(
      loop_->uv(), [](uv_handle_t*, void* counter) { ++*static_cast<unsigned*>(counter); }, &count);
  return count;
}

bool WorkerLoop::poll() {
  bool any = false;
  if (main_ && stop_requested()) {
    std::exchange(main_, nullptr)->cancel();
    any = true;
  }
  if (!waiting_for_room_.empty() && receiver_.may_stream()) {
    waiting_for_room_.front().resume_later();
    any = true;
  }
  return any;
}

bool WorkerLoop::prepare_to_sleep() {
  const bool for_room = !waiting_for_room_.empty();
  receiver_.sleep_in_loop(for_room);
  return !(main_ && stop_requested()) && !(for_room && receiver_.may_stream());
}

}  // namespace cofork::detail
