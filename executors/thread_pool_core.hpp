// The threads of a pool, the queue that they take calls from, and the way back to the loop. Typed code is above it.
#pragma once

#include <atomic>
#include <cofork/executors/options.hpp>
#include <cofork/executors/thread_work.hpp>
#include <cofork/executors/work.hpp>
#include <cofork/runtime/event.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/poller.hpp>
#include <cofork/runtime/task.hpp>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace cofork::detail {

/// Shared by the pool and by every future and stream that it made; they outlive its end. The loop looks for what has
/// been executed before it sleeps; only a thread that finds it asleep rings.
class ThreadPoolCore final : public RefCounted, private Poller, private LoopResource {
 public:
  ThreadPoolCore(unsigned max_workers, std::string thread_name_prefix);

  /// Throws `InvalidStateError` after shutdown; binds the pool to the current loop.
  void check_open();
  /// Throws `std::system_error` if there is no thread and none can be started.
  void enqueue(ThreadWork& work);
  /// True if it was queued: nobody will execute it.
  bool take_back(ThreadWork& work) noexcept;
  List<OpenInput>& open_inputs() noexcept { return open_inputs_; }

  enum class Ended { value, error, cancelled };
  void count(Ended ended) noexcept;

  /// No further work is accepted.
  void close(bool cancel_pending);
  Task<> closed();
  /// Cancels what is queued, asks what is executed to end, and waits for that.
  void terminate() noexcept;
  PoolStats stats() const;
  unsigned max_workers() const noexcept { return max_workers_; }

 private:
  using Queue = std::map<int, List<ThreadWork>, std::greater<>>;

  // Poller
  bool poll() override;
  bool worth_spinning() const override;
  bool prepare_to_sleep() override;
  void awake() override;
  // LoopResource
  void loop_closing() noexcept override { terminate(); }

  // A thread's.
  void work_on_queue();
  ThreadWork& take_next();

  void start_thread();
  void drop_queued() noexcept;
  void deadline_passed(ThreadWork& work);
  void deliver();
  void settle();
  void end_threads() noexcept;

  const unsigned parallelism_;
  const unsigned max_workers_;
  const std::string thread_name_prefix_;

  // The loop's thread only.
  Origin origin_;
  Loop* loop_ = nullptr;
  std::vector<std::thread> threads_;
  List<OpenInput> open_inputs_;
  List<ThreadWork> delivering_;
  std::size_t outstanding_ = 0;  // queued, executed, or not delivered
  PoolStats stats_;
  Event ended_;
  bool closing_ = false;
  bool ending_inputs_ = false;
  bool closed_ = false;

  std::atomic<bool> news_ = false;  // there is something in begun_ or executed_
  mutable std::mutex mutex_;        // for all that follows
  std::condition_variable work_arrived_;
  Queue queue_;
  std::size_t queued_ = 0;
  List<ThreadWork> executing_;
  List<ThreadWork, BegunCall> begun_;
  List<ThreadWork> executed_;
  unsigned busy_ = 0, idle_ = 0;
  bool loop_sleeps_ = false;
  bool calls_are_short_ = false;
  bool stop_ = false;
};

}  // namespace cofork::detail
