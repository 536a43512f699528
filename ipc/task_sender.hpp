// The parent's end of the memory that it shares with a worker.
#pragma once

#include <sys/types.h>

#include <array>
#include <cofork/ipc/arena.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/frame_message.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/task_segment.hpp>
#include <cofork/runtime/sliding_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace cofork::ipc {

/// Sends task frames to one worker and reads its results. The worker may be any program that scribbles over all it can
/// write: what it does harms nothing but its own tasks. Where it breaks the protocol, `next_result` throws
/// `DecodeError`.
class TaskSender {
 public:
  /// Makes the files, the doorbell and the socket. Throws `std::system_error`.
  TaskSender();

  /// What the worker's `TaskReceiver` is made from, in this order. `worker_has_them` closes those that only it needs.
  std::array<int, 5> worker_descriptors() const;
  void worker_has_them();

  /// What the worker is to know; before it is started.
  void introduce(const WorkerSettings& settings) noexcept { parent().settings = settings; }

  /// Becomes readable when the worker rings.
  int doorbell() const { return doorbell_.get(); }
  void clear_doorbell() noexcept;

  // Sending. A frame is begun, its message written, and then published or dropped.

  /// Whether there is room for one more frame.
  bool has_room() const noexcept;

  using Message = FrameMessage;
  /// Begins the next frame: its message, to be written.
  Message& begin_frame();
  struct Function {
    std::uint64_t module, offset;
  };
  /// Sends what was written, as the frame with the sequence number that it returns, and wakes the worker if it sleeps.
  /// Throws `std::system_error` if the descriptors cannot be sent; the frame is dropped then.
  std::uint64_t publish(const Function& function, std::uint32_t items, std::uint32_t flags, std::uint32_t first_offset);
  void drop_frame() noexcept;

  // What became of a frame.

  /// How many of the frame's items were begun.
  std::uint32_t begun(std::uint64_t frame) const noexcept;
  /// When the latest was begun, as the worker says.
  std::int64_t begun_at(std::uint64_t frame) const noexcept;
  /// Takes back all items from the `keep`th on that were not begun; returns how many are left to the worker.
  std::uint32_t take_back(std::uint64_t frame, std::uint32_t keep) noexcept;
  /// The message of a frame that is not released, the first item's offset in it, and the descriptors that were sent.
  struct Sent {
    Function function;
    std::uint32_t flags, first_offset;
    std::span<const std::byte> message;
    std::vector<Descriptor>& descriptors;
  };
  Sent sent(std::uint64_t frame);
  /// The worker has copied the arguments, or will not look at them: their memory in the arena is free.
  void arguments_taken(std::uint64_t frame) noexcept;
  /// How many frames the worker has done with, those included whose last result was read before. Throws `DecodeError`
  /// if that cannot be.
  std::uint64_t passed();
  /// Frees the memory of the oldest frame, which the worker has passed.
  void release_frame() noexcept;

  // Results.

  struct Result {
    ResultFrame::Kind kind;
    std::uint16_t frame;  ///< the end of its sequence number
    std::uint32_t item;
    ItemUsage usage;
    std::span<const std::byte> message;  ///< valid until the next call of `next_result` or `results_done`
    std::vector<Descriptor> descriptors;
  };
  /// The next result, if one has been published. Throws `DecodeError` if the worker broke the protocol.
  bool next_result(Result& result);
  /// All results that were there have been read. The worker hears of it when it could need the room.
  void results_done();
  /// The consumer of the stream that the worker executes has taken values, of so many bytes. The worker hears of it
  /// once it is worth that.
  void values_taken(std::uint64_t values, std::uint64_t bytes);
  /// How many results have been read in all.
  std::uint64_t results_read() const noexcept { return results_read_; }

  // As the worker says.

  /// Private resident memory that the worker has taken since its start, in bytes, as it says; 0 if it does not measure.
  std::uint64_t worker_memory() const noexcept { return worker().memory.load(std::memory_order_relaxed); }
  pid_t pid() const noexcept { return worker().pid.load(std::memory_order_relaxed); }
  const CrashRecord& crash_record() const noexcept {
    return *reinterpret_cast<const CrashRecord*>(results_.data() + ResultFileLayout::crash);
  }
  /// Processor time when it began what it executed.
  struct Times {
    std::int64_t user, system;
  };
  Times times_at_begin() const noexcept {
    return {worker().user_at_begin.load(std::memory_order_relaxed),
            worker().system_at_begin.load(std::memory_order_relaxed)};
  }

  // Sleeping.

  /// The worker hears of all that was read. From now on it rings when it has published so many results in all, or has
  /// nothing left to do. False if there are results, or frames that were passed since the latest `passed`, now.
  bool sleep_until_result(std::uint64_t results);
  void awake() noexcept;

  /// Asks an item that is a coroutine to end.
  void request_stop(std::uint64_t frame, std::uint32_t item);
  /// The worker leaves when it has no further frame.
  void tell_to_leave();

  /// Memory for large messages that is not in use goes back to the system.
  void give_back();
  bool holds_idle_memory() const noexcept { return arena_.empty() && arena_.holds_memory(); }

 private:
  struct Frame {
    std::uint64_t ring_end;
    std::size_t message_offset;  // in the task file
    std::size_t arena_offset;    // 0: in the ring
    std::size_t message_size;
    std::uint32_t items;  // left to the worker
    std::uint32_t flags, first_offset;
    Function function;
    std::vector<Descriptor> descriptors;
  };
  ParentWords& parent() const noexcept { return *reinterpret_cast<ParentWords*>(tasks_.data()); }
  WorkerWords& worker() const noexcept { return *reinterpret_cast<WorkerWords*>(results_.data()); }
  Claim& claim(std::uint64_t frame) const noexcept;
  void tell_what_was_read();
  Frame& frame(std::uint64_t sequence) { return frames_[static_cast<std::size_t>(sequence - first_frame_)]; }
  const Frame& frame(std::uint64_t sequence) const {
    return frames_[static_cast<std::size_t>(sequence - first_frame_)];
  }
  std::size_t contiguous_room() const noexcept;
  void wake_worker(Asleep from_loop = not_asleep);
  void count_value(std::uint64_t bytes);
  void end_stream() noexcept;
  std::span<const std::byte> large_message(const ResultFrame& result);
  void receive_descriptors(std::uint32_t count, std::vector<Descriptor>& into);

  MemoryFile task_file_, result_file_;
  Mapping tasks_, results_;
  Descriptor doorbell_, socket_, workers_socket_, workers_task_file_, loop_bell_;
  Arena arena_;
  Message message_;

  detail::SlidingVector<Frame> frames_;
  std::uint64_t first_frame_ = 0;  // the sequence number of frames_[0]
  std::uint64_t next_frame_ = 0;
  std::uint64_t passed_ = 0;  // as the worker said last
  std::uint64_t ring_head_ = 0, ring_tail_ = 0;
  unsigned frames_with_descriptors_ = 0;

  struct FreeDeleter {
    void operator()(std::byte* memory) const noexcept;
  };
  std::unique_ptr<std::byte, FreeDeleter> scratch_;
  std::uint64_t result_bytes_published_ = 0;  // as the worker said last
  std::uint64_t result_bytes_read_ = 0;
  std::uint64_t result_bytes_told_ = 0;  // of which the worker was told that they were read
  std::uint64_t results_read_ = 0;
  bool told_results_ = true;
  bool worth_telling_ = false;
  // Values of streams: those that were read, were taken, and of which the worker was told that they were.
  struct Values {
    std::uint64_t count = 0, bytes = 0;
  };
  Values values_read_, values_taken_, values_told_;
  std::uint64_t sleeps_ = 0;
};

}  // namespace cofork::ipc
