// The event loop of a thread: a ready queue of coroutines, timers, and libuv for the rest.
#pragma once

#include <cofork/runtime/context.hpp>
#include <cofork/runtime/origin.hpp>
#include <cofork/runtime/poller.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <coroutine>
#include <functional>
#include <memory>
#include <string>
#include <vector>

struct uv_loop_s;

namespace cofork {

class Loop;

namespace detail {
inline constinit thread_local Loop* current_loop = nullptr;
/// Below this address the stack of the running coroutines is deep enough: further ones are started from the loop.
inline constinit thread_local const char* stack_limit = nullptr;

/// In a forked child: the loop that it has a copy of is the parent's, and so are all futures and streams.
inline void forget_loop() noexcept {
  ++forks_since_start;
  current_loop = nullptr;
  stack_limit = nullptr;
}

/// Only where a loop is running.
inline bool stack_is_deep() noexcept { return static_cast<const char*>(__builtin_frame_address(0)) < stack_limit; }

/// Resumes `coroutine`, which throws nothing, as the last act of another one: by a jump, if the compiler makes one of
/// it, and else on this stack, or from the loop where that is deep.
void resume_next(std::coroutine_handle<> coroutine) noexcept;

class LoopHandles;
}  // namespace detail

/// The event loop that `run()` keeps on its thread. Everything in it belongs to that thread, but for `post`.
class Loop {
 public:
  /// The loop of this thread. `std::logic_error` where none is running.
  static Loop& current();

  /// Runs `function` on the loop's thread in a later turn. The one function that any thread may call (and a signal
  /// handler may not). The loop must run until `post` has returned, by when `function` may have run already. An
  /// exception that leaves `function` ends the program.
  void post(std::function<void()> function);

  /// The libuv loop, for handles of your own. They must be closed before `run()` ends.
  uv_loop_s* uv() const noexcept;

  /// A loop on `borrowed`, which stays the caller's, or on a libuv loop of its own when that is null.
  explicit Loop(uv_loop_s* borrowed = nullptr);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  /// For awaitables: resumes `waiter` in the next turn.
  void make_ready(detail::Waiter& waiter) noexcept { ready_.push_back(waiter); }
  /// For awaitables: resumes `handle` in the next turn, without a node; `forget` takes it back.
  void defer(std::coroutine_handle<> handle);
  void forget(std::coroutine_handle<> handle) noexcept;

  /// Counts the turns of the ready queue.
  unsigned turn() const noexcept { return turn_; }

  detail::TimerHeap& timers() noexcept { return timers_; }
  detail::Context& root() noexcept { return root_; }
  detail::List<detail::Poller>& pollers() noexcept { return pollers_; }
  detail::List<detail::LoopResource>& resources() noexcept { return resources_; }

  /// Turns until `finished` returns true.
  template <class F>
  void run_until(F&& finished) {
    while (!finished()) {
      run_ready();
      if (finished()) return;
      wait_for_events();
    }
  }

 private:
  void run_ready();
  void wait_for_events();
  bool poll();
  bool spin();
  void expire_timers();

  detail::List<detail::Waiter> ready_;
  std::vector<std::coroutine_handle<>> deferred_;
  detail::TimerHeap timers_;
  detail::Context root_{"loop"};
  detail::List<detail::Poller> pollers_;
  detail::List<detail::LoopResource> resources_;
  std::unique_ptr<detail::LoopHandles> handles_;
  unsigned turn_ = 0;
  unsigned turns_without_io_ = 0;
};

/// The tree of everything that runs on the current loop, a line each, and what it waits for. For people, in a debugger
/// or a log; its form is not fixed. `std::logic_error` where no loop is running.
std::string dump_tasks();

}  // namespace cofork
