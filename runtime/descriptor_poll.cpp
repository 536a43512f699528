#include <fcntl.h>
#include <uv.h>

#include <cofork/runtime/descriptor_poll.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

struct DescriptorPoll::Handle {
  uv_poll_t poll;
  DescriptorPoll* owner = nullptr;
  int watched = 0;
};

void IoOperation::on_cancel(Waiter& waiter) noexcept {
  static_cast<Link<IoOperation>&>(static_cast<IoOperation&>(waiter)).unlink();
  waiter.resume_cancelled();
}

void DescriptorPoll::open(int descriptor) {
  Loop& loop = Loop::current();
  const int flags = keep_mode_ ? ::fcntl(descriptor, F_GETFL) : -1;
  auto handle = std::make_unique<Handle>();
  const int status = uv_poll_init(loop.uv(), &handle->poll, descriptor);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) static_cast<void>(::fcntl(descriptor, F_SETFL, flags));
  if (status == UV_EPERM) {
    always_ready_ = true;
    return;
  }
  check_uv(status, "watch a descriptor");
  handle->poll.data = handle.get();
  handle->owner = this;
  handle_ = handle.release();
  loop_ = &loop;
  generation_ = fork_generation();
  loop.resources().push_back(*this);
}

void DescriptorPoll::wait(IoOperation& operation, int descriptor, For what) {
  if (handle_ && generation_ != fork_generation()) forget();
  if (!handle_ && !always_ready_) open(descriptor);
  if (always_ready_) {
    if (!operation.attempt()) throw std::system_error(EPERM, std::generic_category(), "watch a descriptor");
    operation.resume_later();
    return;
  }
  if (loop_ != current_loop) throw std::logic_error("this descriptor belongs to another thread's loop");
  watch(handle_->watched | (what == For::reading ? UV_READABLE : UV_WRITABLE));
  (what == For::reading ? reading_ : writing_).push_back(operation);
}

void DescriptorPoll::watch(int events) {
  if (events == handle_->watched) return;
  handle_->watched = 0;
  const auto on_event = [](uv_poll_t* poll, int status, int ready) {
    static_cast<Handle*>(poll->data)->owner->ready(status, ready);
  };
  check_uv(events == 0 ? uv_poll_stop(&handle_->poll) : uv_poll_start(&handle_->poll, events, on_event),
           "watch a descriptor");
  handle_->watched = events;
}

void DescriptorPoll::progress(List<IoOperation>& operations, List<IoOperation>& over) noexcept {
  while (!operations.empty() && operations.front().attempt()) over.push_back(operations.pop_front());
}

void DescriptorPoll::ready(int status, int events) noexcept {
  if (status < 0) {
    // An error of the descriptor's, which the operations will be told; libuv has stopped watching.
    handle_->watched = 0;
    events = UV_READABLE | UV_WRITABLE;
  }
  int wanted = handle_->watched;
  List<IoOperation> over;
  for (const int event : {UV_READABLE, UV_WRITABLE}) {
    List<IoOperation>& operations = event == UV_READABLE ? reading_ : writing_;
    const bool waited_for = !operations.empty();
    if ((events & event) != 0) {
      progress(operations, over);
      // Whoever was served will as a rule wait again before the next turn: only then nobody watches any more.
      if (!waited_for) wanted &= ~event;
    }
    if (status < 0 && !operations.empty()) wanted |= event;
  }
  try {
    watch(wanted);
  } catch (const std::system_error&) {
    // Nothing but ENOMEM: whatever waits tries again with the next change.
  }
  // At once, while what was read is in the processor's cache. It may destroy this, and others that are over.
  while (!over.empty()) over.pop_front().resume_now();
}

void DescriptorPoll::close() noexcept {
  if (!handle_) return;
  if (generation_ != fork_generation()) {
    forget();
    return;
  }
  static_cast<Link<LoopResource>&>(*this).unlink();
  Handle* const handle = std::exchange(handle_, nullptr);
  loop_ = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&handle->poll),
           [](uv_handle_t* closed) { delete static_cast<Handle*>(closed->data); });
}

void DescriptorPoll::forget() noexcept {
  static_cast<Link<LoopResource>&>(*this).unlink();
  // What a closing of it would change is the parent's, so it stays as it is, where a search for leaks finds it.
  static Handle* abandoned = nullptr;
  if (handle_) {
    handle_->owner = nullptr;
    handle_->poll.data = std::exchange(abandoned, handle_);
    handle_ = nullptr;
  }
  loop_ = nullptr;
  while (!reading_.empty()) reading_.pop_front();
  while (!writing_.empty()) writing_.pop_front();
}

}  // namespace cofork::detail
