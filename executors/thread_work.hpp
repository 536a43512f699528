// A call that a thread of a pool executes, as the pool sees it.
#pragma once

#include <atomic>
#include <cofork/executors/options.hpp>
#include <cofork/runtime/intrusive_list.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <exception>
#include <string>

namespace cofork::detail {

class ThreadPoolCore;

/// For the list of the calls whose time limits have begun.
struct BegunCall;

/// All of it belongs to the loop's thread but `execute`. The pool refers to it until it has been executed, or never
/// will be.
class ThreadWork : public Link<ThreadWork>, public Link<BegunCall> {
 public:
  ThreadWork(const ThreadWork&) = delete;
  ThreadWork& operator=(const ThreadWork&) = delete;

  virtual void add_reference() noexcept = 0;
  virtual void drop_reference() noexcept = 0;

  /// The call itself, on a thread of the pool; it keeps the outcome.
  virtual void execute() noexcept = 0;
  /// It has been executed: hands the outcome on, unless it was given up before, and frees what the call held.
  virtual void executed() noexcept = 0;
  /// Its outcome is an error (null: it was cancelled): it will never be executed, or its time is over.
  virtual void give_up(std::exception_ptr error) noexcept = 0;
  /// While it is executed: asks it to end. False if it cannot be asked.
  virtual bool request_stop() noexcept { return false; }
  /// What to call it in messages.
  virtual std::string name() const = 0;

  /// False also after its end; then what it did is seen.
  bool executing() const noexcept { return executing_.load(std::memory_order_acquire); }

 protected:
  ThreadWork(IntrusivePtr<ThreadPoolCore> core, int priority, std::chrono::nanoseconds timeout);
  ~ThreadWork();

  ThreadPoolCore& core() const noexcept { return *core_; }

 private:
  friend class ThreadPoolCore;
  struct Deadline : Timer {
    ThreadWork* work = nullptr;
  };

  IntrusivePtr<ThreadPoolCore> core_;
  const int priority_;
  const std::chrono::nanoseconds timeout_;
  Clock::time_point begun_at_;
  Deadline deadline_;
  bool queued_ = false;  // under the pool's mutex
  std::atomic<bool> executing_ = false;
};

}  // namespace cofork::detail
