// The worker's end of the memory that it shares with its pool.
#pragma once

#include <cofork/ipc/arena.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/frame_message.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/task_segment.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace cofork::ipc {

/// Receives task frames and sends results. It trusts the parent. What waits here blocks, which is all that a worker
/// without a task has to do; one that executes a coroutine asks before, and sleeps in its loop.
class TaskReceiver {
 public:
  /// `descriptors` as `TaskSender::worker_descriptors` lists them; they are the receiver's from now on.
  explicit TaskReceiver(std::span<const int> descriptors);

  const WorkerSettings& settings() const noexcept { return parent().settings; }
  /// What `TaskSender::worker_memory` gives, from the next result on.
  void report_memory(std::uint64_t bytes) noexcept { worker().memory.store(bytes, std::memory_order_relaxed); }

  struct Frame {
    TaskFrame header;
    std::uint64_t sequence;
    std::span<const std::byte> message;  ///< valid until `pass`
    std::vector<Descriptor> descriptors;
  };
  /// Waits for the next frame; nullopt when the parent told to leave.
  std::optional<Frame> next_frame();
  /// When the latest `next_frame` had waited for it, in nanoseconds of the monotonic clock; 0 if it had not to wait.
  std::int64_t waited_until() const noexcept { return waited_until_; }
  /// Claims the frame's next item, begun at `now`; nullopt when none is left to this worker.
  std::optional<std::uint32_t> claim(const Frame& frame, std::int64_t now) noexcept;
  /// Done with the frame: its memory and its claim are not touched any more.
  void pass(const Frame& frame) noexcept;

  using Message = FrameMessage;
  /// Begins a result, waiting for room. What an earlier `begin_result` began and `publish` did not send is dropped.
  Message& begin_result();
  void publish(ResultFrame::Kind kind, const Frame& frame, std::uint32_t item, const ItemUsage& usage);

  /// What the parent is to know if this process dies.
  CrashRecord& crash_record() const noexcept {
    return *reinterpret_cast<CrashRecord*>(results_.data() + ResultFileLayout::crash);
  }
  void set_time_at_begin(std::int64_t user, std::int64_t system) noexcept {
    worker().user_at_begin.store(user, std::memory_order_relaxed);
    worker().system_at_begin.store(system, std::memory_order_relaxed);
  }

  // For a worker that executes a coroutine.

  /// Whether the item shall end.
  bool stop_requested(const Frame& frame, std::uint32_t item) const noexcept;
  /// Whether a stream has credit for its next value, and the ring has room for it.
  bool may_stream() const noexcept;
  /// It is about to sleep in its loop: from now on the bell is rung for a request to stop, and, if it waits `for_room`,
  /// when `may_stream` may have changed. The parent hears of all that was published.
  void sleep_in_loop(bool for_room);
  void awake_in_loop() noexcept;
  /// Readable when the parent has rung.
  int loop_bell() const noexcept { return loop_bell_.get(); }
  void clear_loop_bell() noexcept;

 private:
  /// Gives the time at which it was over, in nanoseconds of the monotonic clock.
  template <class F>
  std::int64_t wait(F&& over);
  void ring(bool now);
  void send_descriptors(std::vector<Descriptor>& descriptors);
  void receive_descriptors(Frame& frame);
  void free_read_results();
  void give_back();
  const ParentWords& parent() const noexcept { return *reinterpret_cast<const ParentWords*>(tasks_.data()); }
  WorkerWords& worker() const noexcept { return *reinterpret_cast<WorkerWords*>(results_.data()); }

  MemoryFile task_file_, result_file_;
  Descriptor doorbell_, socket_, loop_bell_;
  Mapping tasks_, results_;
  Arena arena_;
  Message message_;

  std::uint64_t next_frame_ = 0;
  std::uint64_t frames_published_ = 0;  // as the parent said last
  std::size_t ring_position_ = 0;       // in the task ring
  std::uint64_t result_bytes_ = 0;
  std::uint64_t results_published_ = 0;
  std::uint64_t values_streamed_ = 0;
  std::uint64_t value_bytes_streamed_ = 0;
  std::uint64_t rung_for_ = 0;
  std::uint64_t passed_ = 0;
  std::int64_t waited_until_ = 0;
  bool warm_ = false;  // there may be memory to give back
  struct Block {
    std::uint64_t result;
    std::size_t offset;
  };
  std::deque<Block> blocks_;  // of published results, until the parent has read them
};

}  // namespace cofork::ipc
