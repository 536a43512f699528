// What a pool does, as its scheduler sees it: entries of its queue, and the pieces of work that are under way.
#pragma once

#include <chrono>
#include <cofork/executors/resource_limits.hpp>
#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/intrusive_list.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cstdint>
#include <exception>
#include <string>

namespace cofork::detail {

class PoolWorker;
class QueueEntry;

/// What is known about how long the calls of one function take.
struct FunctionStatistics {
  double nanoseconds = 0;  // a moving average
  std::uint32_t samples = 0;

  bool known() const noexcept { return samples != 0; }
  void add(double sample) noexcept {
    // The first calls of a function are slow: the average forgets them soon.
    nanoseconds = samples == 0 ? sample : nanoseconds + (sample - nanoseconds) * (samples < 8 ? 0.5 : 0.1);
    if (samples < 8) ++samples;
  }
};

/// How a task is run, apart from what it is.
struct TaskLimits {
  std::chrono::nanoseconds timeout{};  // of the execution of one item; 0: none
  std::chrono::nanoseconds grace{};
  unsigned retries = 0;
  int priority = 0;
  ResourceLimits resources{};  // if there are any, it runs in a worker of its own
};

/// One or more calls of one function that travel to a worker together. Its owner counts the references to it.
class Piece {
 public:
  virtual void add_reference() noexcept = 0;
  virtual void drop_reference() noexcept = 0;

  /// The result of an item. Throws if it cannot be decoded; `failed` follows then. None of these runs code of the
  /// user's but to decode: what waits for the piece goes on later.
  virtual void value(std::uint32_t item, ipc::Reader& result) = 0;
  virtual void failed(std::uint32_t item, std::exception_ptr error) noexcept = 0;
  virtual void cancelled(std::uint32_t item) noexcept = 0;
  /// A value of the stream that it is.
  virtual void streamed(ipc::Reader&) { ipc::Reader::fail("a stream's value from a task that is no stream"); }
  /// Before one of these: what its execution took.
  virtual void used(std::uint32_t, const TaskUsage&) noexcept {}
  /// Called once after an item's end, from where the user's code may run.
  virtual void complete() noexcept {}
  /// Whether someone waits for just this, and not for more than this.
  virtual bool urgent() const noexcept = 0;
  /// What to call it in messages.
  virtual std::string name() const = 0;
  /// The name that it was given; null if it has its function's.
  virtual const std::string* own_name() const noexcept { return nullptr; }
  /// The `count` items from `first` on, which a worker has not begun, as a piece of their own.
  virtual IntrusivePtr<Piece> split(std::uint32_t first, std::uint32_t count) = 0;
  /// Whether the time that it took tells how long others of its kind will take.
  virtual bool has_known_time() const noexcept { return true; }
  /// Whether it concerns one worker alone, and is not for another one.
  virtual bool belongs_to_worker() const noexcept { return false; }

  FunctionStatistics* statistics = nullptr;
  TaskLimits limits;
  bool is_coroutine = false;      // its items end when they are asked to
  std::int64_t submitted_at = 0;  // nanoseconds of the monotonic clock; 0: nobody asks
  unsigned lost_starts = 0;       // workers that died when its first item was the next to be begun
  // Where it is, for the pool: in a worker's frame, or in an entry of the queue after it was taken back from one.
  PoolWorker* in_worker = nullptr;
  std::uint64_t in_frame = 0;
  QueueEntry* parcel = nullptr;
  /// For a PoolObserver: a number for its first item, and when, on the monotonic clock, it was queued and sent.
  struct Marks {
    std::uint64_t number = 0;  // none yet
    std::int64_t queued_at = 0, sent_at = 0;
  } marks;

 protected:
  Piece() = default;
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  ~Piece() = default;
};

/// What was put into a frame.
struct Filled {
  IntrusivePtr<Piece> piece;  // null: there is nothing to send at the moment
  ipc::TaskSender::Function function{};
  std::uint32_t items = 1;
  std::uint32_t flags = 0;
  std::uint32_t first_offset = 0;
};

/// A call that goes on making pieces for as long as its input lasts, and must hear when that cannot be any more.
class OpenInput : public Link<OpenInput> {
 public:
  /// No further work is accepted. What it needs no waiting for it may still send.
  virtual void pool_closes() noexcept = 0;
  /// Nothing of it that has not been sent will be: cancelled, or failed with `error`.
  virtual void pool_ends(const std::exception_ptr& error) noexcept = 0;

 protected:
  ~OpenInput() = default;
};

/// An entry of the queue: something that frames can be made from. The queue holds a reference to it.
class QueueEntry : public Link<QueueEntry> {
 public:
  virtual void add_reference() noexcept = 0;
  virtual void drop_reference() noexcept = 0;

  /// Writes one frame of `items` calls at most.
  virtual Filled fill(ipc::TaskSender::Message& message, std::uint32_t items) = 0;
  /// Whether it can fill another frame now; it goes to the end of the queue then.
  virtual bool more() noexcept { return false; }
  /// The pool closes: what was not sent is cancelled, or fails with `error`. The entry has left the queue.
  virtual void drop(const std::exception_ptr& error) noexcept = 0;
  virtual const FunctionStatistics& expectation() const noexcept = 0;
  /// Whether it needs a worker that has done nothing before, and does nothing after.
  virtual bool needs_own_worker() const noexcept { return false; }
  virtual std::size_t pending() const noexcept { return 1; }

  int priority = 0;

 protected:
  QueueEntry() = default;
  ~QueueEntry() = default;
};

}  // namespace cofork::detail
