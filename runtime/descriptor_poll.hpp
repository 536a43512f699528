// One descriptor, and the operations that wait until it is ready. Not for users.
#pragma once

#include <cofork/runtime/context.hpp>
#include <cofork/runtime/intrusive_list.hpp>
#include <cofork/runtime/poller.hpp>
#include <coroutine>

struct uv_poll_s;

namespace cofork {
class Loop;
}

namespace cofork::detail {

/// Something that a coroutine waits for and that is tried again whenever its descriptor is ready.
class IoOperation : public Waiter {
 public:
  /// True when it is over, with a result or an error; then the coroutine is resumed. One that was over stays so,
  /// whether it is cancelled before that or not.
  virtual bool attempt() noexcept = 0;

 protected:
  IoOperation() = default;
  ~IoOperation() = default;

  /// Cancelling it at once ends it; the derived class sees `cancelled()` when it is resumed.
  static void on_cancel(Waiter& waiter) noexcept { waiter.resume_cancelled(); }
};

/// A loop's watch on a descriptor: libuv is told when something waits for the first time, and from then on only when
/// what is to be watched changes, as that costs two system calls. It belongs to the loop on which something waited
/// first, until that loop ends or the watch is closed.
class DescriptorPoll final : private LoopResource {
 public:
  enum class For { reading, writing };

  DescriptorPoll() = default;
  DescriptorPoll(const DescriptorPoll&) = delete;
  DescriptorPoll& operator=(const DescriptorPoll&) = delete;
  ~DescriptorPoll() { close(); }

  /// `operation`, which is suspended, is tried whenever `descriptor` is ready, until it is over or unlinked. What
  /// cannot be watched, as it is always ready (a regular file), is tried at once. The first caller's descriptor counts.
  /// Throws std::system_error; std::logic_error when another loop has it.
  void wait(IoOperation& operation, int descriptor, For what);

  /// Lets go of the descriptor, which may be closed then. Whatever waits still is forgotten: resume it before.
  void close() noexcept;
  /// Forgets what a fork copied: the loop is the parent's.
  void forget() noexcept;

  /// Whether an operation of that direction waits.
  bool waited_for(For what) const noexcept { return !(what == For::reading ? reading_ : writing_).empty(); }

  /// Calls `visit` with every operation that waits; it may take it out.
  template <class F>
  void for_each(F&& visit) {
    for (List<Waiter>* operations : {&reading_, &writing_})
      operations->for_each([&](Waiter& waiter) { visit(static_cast<IoOperation&>(waiter)); });
  }

  /// The descriptor's open file is shared with others: it must not stay non-blocking, as libuv makes it.
  void keep_mode() noexcept { keep_mode_ = true; }

 private:
  void loop_closing() noexcept override { close(); }
  void open(int descriptor);
  void watch(int events);
  void ready(int status, int events) noexcept;

  uv_poll_s* handle_ = nullptr;  // libuv's from `close` on
  int watched_ = 0;
  List<Waiter> reading_, writing_;
  Loop* loop_ = nullptr;
  unsigned generation_ = 0;
  bool always_ready_ = false;
  bool keep_mode_ = false;
};

}  // namespace cofork::detail
