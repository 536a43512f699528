#include <cofork/executors/process_join.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/runtime/context.hpp>
#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/timer_heap.hpp>

namespace cofork::detail {

namespace {

/// Until the child has ended, or the time is over. Cancelling it ends the wait at once.
class EndOfChild {
 public:
  EndOfChild(ProcessChild& child, std::optional<std::chrono::nanoseconds> timeout) : child_(child), timeout_(timeout) {}
  EndOfChild(const EndOfChild&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    Context* const context = context_of(handle);
    if (context && context->cancelled()) throw CancelledError();
    // libuv takes each descriptor once, and others may wait, too.
    sentinel_ = ipc::Descriptor::duplicate(child_.sentinel());
    watch_ = DescriptorWatch(Loop::current().uv(), sentinel_.get(), [this] { ended(); });
    if (timeout_) node_.start(deadline_after(*timeout_), [](Timer& timer) noexcept { node(timer).resume_later(); });
    node_.suspend(handle, context, "the end of a process", [](Waiter& waiter) noexcept { waiter.resume_cancelled(); });
  }
  void await_resume() {
    node_.stop();
    watch_ = DescriptorWatch();
    if (node_.cancelled()) throw CancelledError();
  }

 private:
  struct Node : Waiter, Timer {};
  static Node& node(Timer& timer) noexcept { return static_cast<Node&>(timer); }

  void ended() {
    watch_ = DescriptorWatch();
    node_.stop();
    node_.resume_later();
  }

  ProcessChild& child_;
  const std::optional<std::chrono::nanoseconds> timeout_;
  ipc::Descriptor sentinel_;
  DescriptorWatch watch_;  // goes before its descriptor does
  Node node_;
};

}  // namespace

Task<bool> join_child(std::shared_ptr<ProcessChild> child, std::optional<std::chrono::nanoseconds> timeout) {
  std::optional<int> exitcode = child->exitcode();
  if (exitcode) co_return true;
  if (timeout && timeout->count() <= 0) co_return false;
  waiting_for_others();
  EndOfChild end(*child, timeout);
  co_await end;
  exitcode = child->exitcode();
  co_return exitcode.has_value();
}

}  // namespace cofork::detail
