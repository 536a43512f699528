// Tells the coroutines of a loop when a channel's descriptors are ready.
#pragma once

#include <chrono>
#include <cofork/runtime/context.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/intrusive_list.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <coroutine>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

struct uv_poll_s;

namespace cofork::detail {

/// Somebody who waits on a `SocketWatch`.
struct WatchEntry : Link<WatchEntry> {
  Waiter* waiter = nullptr;
  bool takes = false;  ///< It will take what has arrived, so that only the first of its kind is told.
};

/// One loop's watch on a descriptor, and on another that reports a hang-up. It is made when something waits for the
/// first time, and stays armed between one wait and the next. It belongs to the loop's thread, but for `close`.
class SocketWatch final : public LoopResource {
 public:
  /// On the current loop. `line` may be -1. Throws std::system_error.
  static std::shared_ptr<SocketWatch> create(int socket, int line);
  SocketWatch(Loop& loop, int socket, int line);
  ~SocketWatch();

  /// Whether it is of the current loop, and open.
  bool usable_here() const noexcept;
  bool closed() const noexcept;
  /// Not a copy that a fork made.
  bool of_this_process() const noexcept;

  /// The entry leaves by itself when it is told. Both throw std::system_error.
  void tell_when_readable(WatchEntry& entry);
  void tell_when_writable(WatchEntry& entry);

  /// By any thread. What `keep_open` owns is destroyed when the loop has let go of the descriptors: at once if it is
  /// the current one. In a forked child the loop is not there any more, and nothing happens.
  static void close(const std::shared_ptr<SocketWatch>& watch, const std::shared_ptr<void>& keep_open) noexcept;

 private:
  struct Poll;
  void loop_closing() noexcept override;
  void close_polls() noexcept;
  void arm(Poll*& poll, int descriptor, int events);
  void socket_ready(int status, int events) noexcept;
  void line_ready() noexcept;
  static void tell(List<WatchEntry>& entries, bool everybody) noexcept;

  mutable std::mutex mutex_;  // guards loop_
  Loop* loop_;
  const unsigned generation_;
  const int socket_, line_;
  Poll* socket_poll_ = nullptr;
  Poll* line_poll_ = nullptr;
  List<WatchEntry> readers_, writers_;
};

/// A state's watches: one for each loop on which something waits.
class SocketWatches {
 public:
  /// That of the current loop. Throws std::system_error.
  SocketWatch& here(int socket, int line);
  /// See `SocketWatch::close`; and in a child that was forked, where it forgets them.
  void close(const std::shared_ptr<void>& keep_open) noexcept;
  bool empty() const noexcept { return watches_.empty(); }

 private:
  std::vector<std::shared_ptr<SocketWatch>> watches_;
};

/// A watch for one function's waits.
class LocalWatch {
 public:
  explicit LocalWatch(int descriptor) : watch_(SocketWatch::create(descriptor, -1)) {}
  LocalWatch(const LocalWatch&) = delete;
  LocalWatch& operator=(const LocalWatch&) = delete;
  ~LocalWatch() { SocketWatch::close(watch_, nullptr); }
  SocketWatch& operator*() const noexcept { return *watch_; }

 private:
  std::shared_ptr<SocketWatch> watch_;
};

/// Waits until a descriptor is ready, or a deadline has passed: then it gives false. Cancelling ends the wait at once.
class [[nodiscard("co_await it")]] ReadyAwaiter {
 public:
  enum class For { taking, looking, writing };
  ReadyAwaiter(SocketWatch & watch, For purpose, std::optional<Clock::time_point> deadline = std::nullopt) noexcept
      : watch_(watch), purpose_(purpose), deadline_(deadline) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspend(handle, context_of(handle));
  }
  bool await_resume() const {
    if (cancelled_ || node_.cancelled()) throw CancelledError();
    return !node_.expired;
  }

 private:
  bool suspend(std::coroutine_handle<> handle, Context * context);

  SocketWatch& watch_;
  For purpose_;
  std::optional<Clock::time_point> deadline_;
  struct Node : Waiter, Timer {
    WatchEntry entry;
    bool expired = false;
    static void expire(Timer& timer) noexcept;
    static void cancel(Waiter& waiter) noexcept;
  };
  Node node_;
  bool cancelled_ = false;
};

}  // namespace cofork::detail
