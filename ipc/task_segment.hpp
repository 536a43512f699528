// The memory that a pool and one of its workers share: what lies where, and who may write it.
//
// Two files. The parent writes the first, which the worker maps read-only: a page of parent's words, a ring of task
// frames, an arena for messages that do not fit the ring. The worker writes the second: a page of worker's words, the
// claims, a ring of result frames, an arena. Of the second file the parent trusts nothing: whatever it reads there it
// reads once, and checks.
//
// A task frame holds one or more items, calls of one function. The worker claims each item, by moving `next` of the
// frame's claim, before it begins it; the parent takes back those not begun by lowering `limit` of the same word. So
// both always agree on which item is executed, and a process that is killed at any instant leaves a word that tells.
//
// An item that is a coroutine can be asked to end: the parent names it in `stop`. The name is what makes a late request
// harmless: it never means another item. One that is a stream sends values before its result, never more than its
// credit allows: what the parent has told to be taken, and a window beyond that.
#pragma once

#include <atomic>
#include <cofork/ipc/crash_record.hpp>
#include <cstddef>
#include <cstdint>

namespace cofork::ipc {

inline constexpr std::size_t segment_page = 4096;
inline constexpr std::size_t task_ring_bytes = 256 * 1024;
inline constexpr std::size_t result_ring_bytes = 256 * 1024;
/// Messages above this go to the arena.
inline constexpr std::size_t inline_message_bytes = 32 * 1024;
/// Frames that a worker has not passed yet, at most.
inline constexpr std::size_t max_frames = 1024;
/// Items of a frame, at most.
inline constexpr std::uint32_t max_items = 65536;
/// A stream's next value may be sent while fewer values than this, and fewer bytes, were sent and not taken.
inline constexpr std::uint64_t stream_window_values = 256;
inline constexpr std::uint64_t stream_window_bytes = 1024 * 1024;

/// What a worker is told before it begins.
struct WorkerSettings {
  std::uint64_t number = 0;       ///< Of the worker, in its pool.
  std::uint64_t max_memory = 0;   ///< Above this, in bytes, `WorkerWords::memory` matters; 0: it is not measured.
  std::uint32_t depth = 0;        ///< Pools that are around it, its own included.
  std::uint32_t parallelism = 0;  ///< The CPUs that are its share.
};

/// Written by the parent.
struct alignas(64) ParentWords {
  /// Frames published.
  std::atomic<std::uint64_t> frames{0};
  /// Bytes of the result ring that were read, and result messages whose arena block is free again.
  alignas(64) std::atomic<std::uint64_t> result_bytes_read{0};
  std::atomic<std::uint64_t> results_read{0};
  /// Frames whose memory was taken back after the worker had passed them.
  std::atomic<std::uint64_t> frames_released{0};
  /// While the parent sleeps: a number that is new each time. Zero while it is awake.
  alignas(64) std::atomic<std::uint64_t> sleep{0};
  /// Ring the doorbell when so many results were published in all.
  std::atomic<std::uint64_t> ring_at{0};
  /// The worker leaves when it has no further frame.
  std::atomic<std::uint32_t> leave{0};
  /// The item that shall end, as `item_name` says; 0: none.
  alignas(64) std::atomic<std::uint64_t> stop{0};
  /// Of all values of streams that this worker ever sent, so many were taken, and so many bytes. When a stream's result
  /// is read, all of its values count as taken.
  std::atomic<std::uint64_t> values_taken{0};
  std::atomic<std::uint64_t> value_bytes_taken{0};
  /// Not changed once the worker is started.
  WorkerSettings settings;
};

/// Never 0; of two frames only those name their items alike whose sequence numbers agree in the lower half.
constexpr std::uint64_t item_name(std::uint32_t frame, std::uint32_t item) {
  return (std::uint64_t{frame} << 32 | item) + 1;
}

/// How a worker sleeps: whom it must be woken by, and how.
enum Asleep : std::uint32_t {
  not_asleep = 0,
  asleep_on_futex = 1,          ///< on the word itself, for anything new
  asleep_in_loop = 2,           ///< in an event loop that watches the bell; it must hear of `stop`
  asleep_in_loop_for_room = 3,  ///< also of what was read and taken
};

/// Written by the worker.
struct alignas(64) WorkerWords {
  /// Bytes of the result ring that were published.
  std::atomic<std::uint64_t> result_bytes{0};
  /// Frames that it has done with: their memory is free again. Stored before the last result of the frame is published.
  std::atomic<std::uint64_t> frames_passed{0};
  /// An `Asleep`, while it sleeps or is about to.
  alignas(64) std::atomic<std::uint32_t> asleep{0};
  /// Private resident memory that it has taken since its start, in bytes, as it found after one of its latest calls.
  alignas(64) std::atomic<std::uint64_t> memory{0};
  /// The worker's; its first results may be there before the parent hears of its start.
  std::atomic<std::int32_t> pid{0};
  /// Processor time of the process, in nanoseconds, when it began the item that it executes; a little before at most.
  std::atomic<std::int64_t> user_at_begin{0}, system_at_begin{0};
};

/// Of one frame: the index of the first item not begun, and of the first that must not be begun.
struct ClaimState {
  std::uint32_t next, limit;
};

/// For each frame, at its sequence number modulo `max_frames`. While the word is still about the frame that was there
/// before, nothing of this one was begun or taken back: so it can be sent without touching what the worker writes.
struct Claim {
  std::atomic<std::uint64_t> word{0};
  /// When the latest item was begun, in nanoseconds of the monotonic clock.
  std::atomic<std::int64_t> begun_at{0};

  static constexpr unsigned bits = 17;  // of an index
  static constexpr std::uint64_t mask = (std::uint64_t{1} << bits) - 1;

  /// The word's upper bits, for this frame: how often its place was used.
  static std::uint64_t use(std::uint64_t frame) { return (frame / max_frames + 1) << 2 * bits; }
  static std::uint64_t pack(std::uint64_t frame, ClaimState state) {
    return use(frame) | std::uint64_t{state.limit} << bits | state.next;
  }
  /// What `word` says of a frame of so many items. If it is nonsense: that all of them were begun.
  static ClaimState unpack(std::uint64_t word, std::uint64_t frame, std::uint32_t items) {
    const std::uint64_t of_use = word >> 2 * bits << 2 * bits;
    if (of_use == use(frame))
      return {static_cast<std::uint32_t>(word & mask), static_cast<std::uint32_t>(word >> bits & mask)};
    const bool untouched = of_use == use(frame) - (std::uint64_t{1} << 2 * bits);
    return {untouched ? 0 : items, items};
  }
};

/// Begins a frame in the task ring, 64-byte aligned; a message that is inline follows.
struct alignas(64) TaskFrame {
  enum Flags : std::uint32_t { none = 0, wrap = 1, in_arena = 2, chunk = 4, initializer = 8, limited = 256 };
  /// `wrap`: nothing here, the next frame is at the start of the ring; `limited`: what the call may use of the machine
  /// comes before its function.
  std::uint32_t flags;
  std::uint32_t items;
  std::uint32_t first_offset;  ///< of the first item in the message
  std::uint32_t descriptors;   ///< that come by the socket for this frame
  std::uint64_t module;        ///< the function to call, see function_id.hpp
  std::uint64_t offset;
  std::uint64_t message_size;
  std::uint64_t arena_offset;
};

/// Begins every item of a `chunk`: the size of what follows, and how many of the frame's descriptors are its own.
struct ItemHeader {
  std::uint64_t size : 48;
  std::uint64_t descriptors : 16;
};

/// When an item was begun, in nanoseconds of the monotonic clock, and what executing it took: nanoseconds, and the
/// process's peak resident memory in bytes. Short items do not ask the kernel: their user time is `wall`.
struct ItemUsage {
  std::int64_t begun_at = 0;
  std::int64_t wall = 0, user = 0, system = 0;
  std::uint64_t max_rss = 0;
};

/// Begins a frame in the result ring, 8-byte aligned; a message that is inline follows.
struct ResultFrame {
  enum Kind : std::uint8_t {
    wrap,             ///< nothing here, the next frame is at the start of the ring
    value,            ///< the item returned
    error,            ///< the item threw
    arguments_taken,  ///< the item has copied its arguments: their memory is free again
    streamed,         ///< a value of the stream that the item is; the item goes on
  };
  Kind kind;
  std::uint8_t in_arena;
  std::uint16_t frame;  ///< the end of its sequence number
  std::uint32_t item;
  ItemUsage usage;
  std::uint64_t message_size : 48;
  std::uint64_t descriptors : 16;
  std::uint64_t arena_offset;
};

/// Offsets in the two files.
struct TaskFileLayout {
  static constexpr std::size_t ring = segment_page;
  static constexpr std::size_t arena = ring + task_ring_bytes;
};
struct ResultFileLayout {
  static constexpr std::size_t crash = segment_page / 2;  ///< CrashRecord, beside the worker's words
  static constexpr std::size_t claims = segment_page;
  static constexpr std::size_t ring = claims + max_frames * sizeof(Claim);
  static constexpr std::size_t arena = ring + result_ring_bytes;
};

static_assert(sizeof(ParentWords) <= segment_page && sizeof(WorkerWords) <= ResultFileLayout::crash);
static_assert(ResultFileLayout::crash + sizeof(CrashRecord) <= ResultFileLayout::claims);
static_assert(max_items <= Claim::mask);
static_assert(sizeof(ItemHeader) == 8 && sizeof(TaskFrame) == 64 && sizeof(ResultFrame) == 64);
static_assert(TaskFileLayout::arena % segment_page == 0 && ResultFileLayout::arena % segment_page == 0);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace cofork::ipc
