// A worker, as its pool sees it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cofork/executors/work.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cstdint>
#include <deque>
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
  std::int64_t sent_at;
};

/// Why the item that a worker is executing is stopped.
enum class StopReason { none, cancelled, timeout };

class PoolWorker {
 public:
  PoolWorker(PoolCore& pool, std::uint64_t number) : core(pool), id(number) { deadline.worker = grace.worker = this; }

  bool idle() const noexcept { return in_flight.empty(); }
  /// The first frame that has not given all its results, or null.
  InFlight* current() noexcept {
    for (InFlight& frame : in_flight)
      if (frame.results < frame.limit) return &frame;
    return nullptr;
  }
  InFlight& find(std::uint64_t frame) noexcept {
    return in_flight[static_cast<std::size_t>(frame - in_flight.front().frame)];
  }

  PoolCore& core;
  const std::uint64_t id;
  pid_t pid = 0;  // 0: not started yet
  ipc::TaskSender sender;
  DescriptorWatch doorbell;
  std::deque<InFlight> in_flight;  // consecutive frames
  double expected = 0;             // nanoseconds of work in flight
  std::uint64_t tasks_sent = 0;
  bool proven = false;      // its initializer has succeeded, or there is none and it was started
  bool retiring = false;    // gets no further work, and leaves after what it has
  bool condemned = false;   // is being killed
  bool impatient = false;   // its results have been slow in coming: it rings for each
  std::uint64_t results_at_nap = 0;
  StopReason stop_reason = StopReason::none;  // of the item it executes
  int signal_when_started = 0;
  std::exception_ptr start_error;  // what its initializer threw

  struct WorkerTimer : Timer {
    PoolWorker* worker = nullptr;
  };
  WorkerTimer deadline;  // of the item it executes
  WorkerTimer grace;     // after SIGTERM
};

}  // namespace cofork::detail
