#include <fcntl.h>
#include <uv.h>

#include <cofork/runtime/descriptor_poll.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/loop_handles.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {
std::string watch_of(int descriptor) { return "watch descriptor " + std::to_string(descriptor); }
}  // namespace

void DescriptorPoll::open(int descriptor) {
  Loop& loop = Loop::current();
  const int flags = keep_mode_ ? ::fcntl(descriptor, F_GETFL) : -1;
  auto handle = std::make_unique<uv_poll_t>();
  const int status = uv_poll_init(loop.uv(), handle.get(), descriptor);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) static_cast<void>(::fcntl(descriptor, F_SETFL, flags));
  if (status == UV_EPERM) {
    always_ready_ = true;
    return;
  }
  if (status < 0) throw std::system_error(-status, std::generic_category(), watch_of(descriptor));
  handle->data = this;
  handle_ = handle.release();
  watched_ = 0;
  loop_ = &loop;
  generation_ = fork_generation();
  loop.resources().push_back(*this);
}

void DescriptorPoll::wait(IoOperation& operation, int descriptor, For what) {
  if (handle_ && generation_ != fork_generation()) forget();
  if (!handle_ && !always_ready_) open(descriptor);
  if (always_ready_) {
    if (!operation.attempt()) throw std::system_error(EPERM, std::generic_category(), watch_of(descriptor));
    operation.resume_later();
    return;
  }
  if (loop_ != current_loop) throw std::logic_error("this descriptor belongs to another thread's loop");
  watch(watched_ | (what == For::reading ? UV_READABLE : UV_WRITABLE));
  (what == For::reading ? reading_ : writing_).push_back(operation);
}

void DescriptorPoll::watch(int events) {
  if (events == watched_) return;
  watched_ = 0;
  const auto on_event = [](uv_poll_t* poll, int status, int ready) {
    static_cast<DescriptorPoll*>(poll->data)->ready(status, ready);
  };
  check_uv(events == 0 ? uv_poll_stop(handle_) : uv_poll_start(handle_, events, on_event), "watch a descriptor");
  watched_ = events;
}

void DescriptorPoll::ready(int status, int events) noexcept {
  if (status < 0) {
    // An error of the descriptor's, which the operations will be told; libuv has stopped watching.
    watched_ = 0;
    events = UV_READABLE | UV_WRITABLE;
  }
  int wanted = watched_;
  List<Waiter> over;
  const auto serve = [&](List<Waiter>& operations, int event) {
    // Whoever was served will as a rule wait again before the next turn: only then nobody watches any more.
    if (operations.empty()) {
      if ((events & event) != 0) wanted &= ~event;
      return;
    }
    if ((events & event) != 0)
      while (!operations.empty() && static_cast<IoOperation&>(operations.front()).attempt())
        over.push_back(operations.pop_front());
    if (status < 0 && !operations.empty()) wanted |= event;
  };
  serve(reading_, UV_READABLE);
  serve(writing_, UV_WRITABLE);
  try {
    watch(wanted);
  } catch (const std::system_error&) {
    // Nothing but ENOMEM: whatever waits tries again with the next change.
  }
  // At once, while what was read is in the processor's cache. It may destroy this, and others that are over.
  while (!over.empty()) over.front().resume_now();
}

void DescriptorPoll::close() noexcept {
  if (!handle_) return;
  if (generation_ != fork_generation()) {
    forget();
    return;
  }
  static_cast<Link<LoopResource>&>(*this).unlink();
  loop_ = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(handle_, nullptr)),
           [](uv_handle_t* closed) { delete reinterpret_cast<uv_poll_t*>(closed); });
}

void DescriptorPoll::forget() noexcept {
  static_cast<Link<LoopResource>&>(*this).unlink();
  // What a closing of it would change is the parent's, so it stays as it is, where a search for leaks finds it.
  static uv_poll_t* abandoned = nullptr;
  if (handle_) {
    handle_->data = std::exchange(abandoned, handle_);
    handle_ = nullptr;
  }
  loop_ = nullptr;
  while (!reading_.empty()) reading_.pop_front();
  while (!writing_.empty()) writing_.pop_front();
}

}  // namespace cofork::detail
