// A worker, as its pool sees it.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <cofork/executors/work.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/sliding_vector.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cstdint>
#include <exception>

namespace cofork::detail {

class PoolCore;

/// A frame that a worker was sent and has not passed.
struct InFlight {
  IntrusivePtr<Piece> piece;
  std::uint64_t frame;
  std::uint32_t limit;        // items left to this worker
  std::uint32_t results = 0;  // of them, so many have ended
  double expected_each;       // nanoseconds
  std::int64_t sent_at;       // on the monotonic clock, if the piece has a timeout
};

/// Why the item that a worker is executing is stopped.
enum class StopReason { none, cancelled, timeout };

class PoolWorker {
 public:
  PoolWorker(PoolCore& pool, std::uint64_t number) : core(pool), id(number) { deadline.worker = grace.worker = this; }

  /// It can be there, and give results, before the pool hears of its start; then it is what the worker says. 0 before.
  pid_t pid_as_known() const noexcept { return pid != 0 ? pid : sender.pid(); }

  bool idle() const noexcept { return !current(); }
  /// The first frame that has not given all its results, or null.
  InFlight* current() const noexcept {
    while (finished < in_flight.size() && in_flight[finished].results >= in_flight[finished].limit) ++finished;
    return finished < in_flight.size() ? const_cast<InFlight*>(&in_flight[finished]) : nullptr;
  }
  /// Whether it would begin at once what it is sent. One from which all was taken back because it stood still has not
  /// passed that yet.
  bool at_hand() const noexcept { return idle() && !condemned && !retiring && (quiet_naps == 0 || in_flight.empty()); }
  /// The worker has passed the first frame.
  void pop_frame() noexcept {
    sender.release_frame();
    in_flight.pop_front();
    if (finished > 0) --finished;
  }
  InFlight& find(std::uint64_t frame) noexcept {
    return in_flight[static_cast<std::size_t>(frame - in_flight.front().frame)];
  }

  /// Whether it executes something now.
  bool executing() noexcept {
    const InFlight* frame = current();
    return frame && sender.begun(frame->frame) > frame->results;
  }
  /// Whether there is more for it than the item that it executes.
  bool has_more() noexcept {
    const InFlight* frame = current();
    return frame && (frame->limit - frame->results > 1 || finished + 1 < in_flight.size());
  }

  /// When it began the item that it executes, in nanoseconds of the monotonic clock: as it says, but not later than
  /// when it was first seen to execute it.
  std::int64_t begun_at(std::int64_t now) noexcept {
    const InFlight& frame = *current();
    if (seen_frame != frame.frame || seen_item != frame.results) {
      seen_frame = frame.frame;
      seen_item = frame.results;
      seen_at = now;
    }
    return std::clamp(sender.begun_at(frame.frame), std::min(frame.sent_at, seen_at), seen_at);
  }

  static constexpr std::uint64_t no_nap = ~std::uint64_t{0};

  PoolCore& core;
  const std::uint64_t id;
  pid_t pid = 0;  // 0: not started yet
  ipc::TaskSender sender;
  DescriptorWatch doorbell;
  SlidingVector<InFlight> in_flight;  // consecutive frames
  mutable std::size_t finished = 0;   // of them, at least so many of the first have given all their results
  double expected = 0;                // nanoseconds of work in flight
  std::uint64_t tasks_sent = 0;
  bool proven = false;      // its initializer has succeeded, or there is none and it was started
  bool retiring = false;    // gets no further work, and leaves after what it has
  bool dedicated = false;   // to one task, and retiring
  bool condemned = false;   // is being killed
  unsigned quiet_naps = 0;  // so many naps without a result: it rings for each, and gets nothing further
  std::uint64_t results_at_nap = no_nap;
  StopReason stop_reason = StopReason::none;  // of the item it executes
  std::exception_ptr broke_protocol;          // and is condemned for that
  int signal_when_started = 0;
  Clock::time_point idle_since;    // if the pool has an idle timeout
  std::exception_ptr start_error;  // what its initializer threw

  struct WorkerTimer : Timer {
    PoolWorker* worker = nullptr;
  };
  WorkerTimer deadline;  // of the item it executes
  Clock::time_point deadline_at = Clock::time_point::max();
  std::uint64_t seen_frame = ~std::uint64_t{0};  // the item that it was last seen to execute, and since when
  std::uint32_t seen_item = 0;
  std::int64_t seen_at = 0;
  WorkerTimer grace;  // after SIGTERM, or after it was told to leave
};

}  // namespace cofork::detail
