// What a ForkExecutor does: gives forked children their turn, and sees to their ends. Typed code is above it.
#pragma once

#include <chrono>
#include <cofork/executors/forked_child.hpp>
#include <cofork/executors/options.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/event.hpp>
#include <cofork/runtime/intrusive_list.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/poller.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cofork::detail {

class ForkCore;

/// One submitted task: a child, from its fork to its end. Its owner counts the references to it; the core has one while
/// there is a child.
class ForkedTask : public Link<ForkedTask> {
 public:
  virtual void add_reference() noexcept = 0;
  virtual void drop_reference() noexcept = 0;

 protected:
  ForkedTask(IntrusivePtr<ForkCore> core, const SubmitOptions& options, std::unique_ptr<ForkedBody> body,
             const std::string& function_name);
  ForkedTask(const ForkedTask&) = delete;
  ForkedTask& operator=(const ForkedTask&) = delete;
  ~ForkedTask();

  /// How it ended; `value` as well for a stream that came to its end.
  enum class Outcome : unsigned char { none, value, error, cancelled };

  /// Decodes a value, the only one or the next; throws what decoding does.
  virtual void received(ipc::Reader& message) = 0;
  /// Its child has ended, or there was none; `outcome()` tells how, if that is known. Code of the user's may run.
  virtual void settled() noexcept = 0;
  /// Messages are left for the consumer to ask for after the child's end, too.
  virtual bool is_stream() const noexcept { return false; }
  /// After `listen`, as long as there is a message to receive, or none will come any more.
  virtual void arrived() {}
  void listen();
  void stop_listening() noexcept { arrival_ = DescriptorWatch(); }

  Outcome outcome() const noexcept { return outcome_; }
  void set_outcome(Outcome outcome) noexcept { outcome_ = outcome; }
  const std::exception_ptr& error() const noexcept { return error_; }
  void failed(std::exception_ptr error) noexcept {
    error_ = std::move(error);
    outcome_ = Outcome::error;
  }

  bool executing() const noexcept { return phase_ == Phase::executing; }
  bool waiting() const noexcept { return phase_ == Phase::waiting; }
  /// True if it has not begun; then it never will.
  bool cancel_waiting() noexcept;
  /// Ends the child, if there is one.
  bool stop() noexcept;
  /// Takes a message if one has come; what it cannot be decoded to is its outcome.
  MessageSocket::Received receive_one() noexcept;
  /// How it ended, where that was without a last message.
  void ended_without_result() noexcept;
  const std::optional<TaskUsage>& task_usage() const noexcept { return usage_; }

 private:
  friend class ForkCore;
  enum class Phase : unsigned char {
    none,
    waiting,  // for its turn
    executing,
    discarded,  // was cancelled before its turn: its child is about to end
    ended
  };

  /// Throws what making a child throws.
  void fork(bool at_once);
  void begin() noexcept;
  void stop_for(StopReason reason) noexcept;
  void note_end(const ForkedChild::End& end) noexcept;

  struct TaskTimer : Timer {
    ForkedTask* task = nullptr;
  };

  std::exception_ptr worker_died() const;

  const IntrusivePtr<ForkCore> core_;
  std::unique_ptr<ForkedBody> body_;  // while it may be needed for another child
  const std::string name_;
  const std::chrono::nanoseconds timeout_, grace_;
  const ResourceLimits limits_;
  const int priority_;
  unsigned retries_;
  Phase phase_ = Phase::none;
  Outcome outcome_ = Outcome::none;
  std::exception_ptr error_;
  StopReason stop_reason_ = StopReason::none;
  std::unique_ptr<ForkedChild> child_;
  DescriptorWatch end_, arrival_;  // go before the child does
  TaskTimer deadline_, kill_;
  Clock::time_point submitted_at_, begun_at_;
  std::optional<ForkedChild::End> end_of_child_;
  std::optional<TaskUsage> usage_;
};

/// Shared by the executor and by every future and stream that it made; they outlive its end.
class ForkCore final : public RefCounted, private LoopResource {
 public:
  explicit ForkCore(unsigned max_workers) : max_workers_(max_workers) { idle_.set(); }

  /// Throws `InvalidStateError` after shutdown; binds the executor to the current loop.
  void check_open();
  /// Forks its child, which begins now or in its turn. A child that there cannot be fails the task.
  void submit(ForkedTask& task);
  /// Forks a template of this process as it is now, for a map: a pool of its own. `target` is what its function needs.
  IntrusivePtr<PoolCore> fork_pool(const ProcessTarget& target);

  /// No further work is accepted.
  void close(bool cancel_pending);
  /// Kills everything at once and waits for that.
  void terminate() noexcept;
  /// Waits for the end of all that was accepted.
  static Task<> closed(IntrusivePtr<ForkCore> core);
  PoolStats stats() const;
  unsigned max_workers() const noexcept { return max_workers_; }

 private:
  friend class ForkedTask;
  void loop_closing() noexcept override { terminate(); }
  void child_ended(ForkedTask& task) noexcept;
  void discard(ForkedTask& task) noexcept;
  void release(ForkedTask& task) noexcept;
  void count(const ForkedTask& task) noexcept;
  void next_turns() noexcept;
  void forget_closed_maps();
  template <class F>
  void for_each_waiting(F&& visit);

  const unsigned max_workers_;
  Origin origin_;
  Loop* loop_ = nullptr;
  std::map<int, List<ForkedTask>, std::greater<>> waiting_;
  List<ForkedTask> active_;  // executing, or about to end
  unsigned executing_ = 0;
  std::size_t children_ = 0;
  std::vector<IntrusivePtr<PoolCore>> maps_;
  PoolStats stats_;  // of single tasks, and of maps that have ended
  Event idle_;       // no child of a single task
  bool closing_ = false;
};

}  // namespace cofork::detail
