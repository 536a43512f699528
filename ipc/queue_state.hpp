// What the handles of one queue share within a process, without the type of its messages.
#pragma once

#include <atomic>
#include <cofork/ipc/lifeline.hpp>
#include <cofork/ipc/message.hpp>
#include <cofork/ipc/monitor.hpp>
#include <cofork/ipc/packet_socket.hpp>
#include <cofork/ipc/queue_log.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>

namespace cofork::detail {

/// Beside a ticket in the log, and in front of the packet that it stands for.
struct PacketId {
  std::uint64_t number = 0;   ///< of the ticket's position
  std::uint64_t process = 0;  ///< with `count`, of one attempt to send only
  std::uint64_t count = 0;
  friend bool operator==(const PacketId&, const PacketId&) = default;
};
/// So that the message itself is aligned.
inline constexpr std::size_t packet_id_room = ipc::message_alignment;
static_assert(sizeof(PacketId) <= packet_id_room);

/// The queue's own shared memory.
struct QueueMemory {
  std::uint64_t maxsize;
  std::uint64_t joinable;
  alignas(64) std::atomic<std::uint64_t> tail;  ///< where the next record goes: storing it puts a message
  std::atomic<std::uint64_t> shut;              ///< set under the lock: the tail stays
  std::atomic<std::uint64_t> had_producers;     ///< somebody put something, or was given the queue
  std::atomic<std::uint64_t> head_seen;         ///< producers': the head was there, or further on
  std::atomic<std::uint64_t> ordinal_seen;      ///< producers': of the head, or less
  std::atomic<std::uint64_t> touched;           ///< a bit for each region that may have memory
  alignas(64) std::atomic<std::uint64_t> head;  ///< the next message to take: storing what follows it takes it
  alignas(64) std::atomic<std::uint64_t> done;  ///< messages on which work is done
  std::atomic<std::uint64_t> redo;              ///< of a change that needs two stores: what the first one is
  std::atomic<std::uint64_t> redo_before;       ///< it was made if its word is larger than this
  std::atomic<std::uint64_t> redo_target;       ///< a member's place, or `target_done`
  std::atomic<std::uint64_t> redo_value;        ///< of the second one
  alignas(64) std::atomic<std::uint64_t> entry[LogPosition::last_region + 1];  ///< where each region was entered

  static constexpr std::uint64_t take = 1, finish = 2;
  static constexpr std::uint64_t target_done = UINT64_MAX;
};

/// A message that is to be put: its bytes, or the packet that holds them if descriptors go with them.
struct QueueItem {
  std::span<const std::byte> bytes;
  std::span<const std::byte> more;  ///< what follows them, if they are a multiple of 8
  OutgoingMessagePtr packet;
};

/// A message that was taken.
struct QueueTaken {
  /// Makes the value of a message where it lies, so that it need not be copied before; null to have the bytes. Others
  /// may be writing there: then it makes anything, or throws, and is called again for the next message.
  void (*decode)(void* value, std::span<const std::byte> message) = nullptr;
  void* value = nullptr;
  std::exception_ptr error;  ///< of `decode`, for a message that is no such value
  bool decoded = false;      ///< or failed to be

  std::span<const std::byte> bytes;
  std::unique_ptr<IncomingMessage> packet;  ///< instead of the bytes
  alignas(ipc::message_alignment) std::byte small[192];
  MessageBlock large;

  QueueTaken() noexcept {}  // `small` is left as it is
};

enum class QueuePut { done, full, shut };
enum class QueueTake { done, empty, shut };

/// Any thread may use it.
///
/// Producers write under the lock, and one store of the tail puts the message. Consumers take none: they copy the
/// message out and then move the head by compare-and-swap, which makes it theirs; where that fails another one has it,
/// and what was copied may be anything. So whoever is killed when, a message is in the queue or it is not.
///
/// When a region of the log is full, it goes on in a larger one; when that has run empty, in the first one again.
/// Within a region it returns to the beginning as soon as there is room for twice what is in it: memory that was used
/// lately is in the caches, and the rest of the region may have no pages yet.
///
/// Descriptors cannot lie in memory: a message with some is a packet in a socket that all share, and the log has a
/// ticket for it. Whoever finds a ticket takes the next packet. A ticket without one stands for a message whose
/// consumer was not done yet, or died.
class QueueState final : public Monitor {
 public:
  QueueState(std::size_t maxsize, bool joinable, bool with_descriptors);
  QueueState(ipc::Reader& reader, bool joinable);
  ~QueueState() override;

  /// Throws std::system_error where there is no memory.
  QueuePut try_put(QueueItem& item);
  /// Throws DecodeError if the queue's memory is damaged, and for a packet that is none.
  QueueTake try_take(QueueTaken& taken);
  /// A packet for `try_put`, from what was written.
  OutgoingMessagePtr packet_of(ipc::Writer& writer) const;

  /// Nobody who might put something has the queue any more; somebody had it. Then look once more what is in it.
  bool producers_are_gone() const;
  /// This process is about to wait for a message.
  void waits_for_message() noexcept { reading_.store(true, std::memory_order_relaxed); }

  std::size_t count() const;
  std::size_t maxsize() const noexcept { return memory().maxsize; }
  void shut();

  /// Throws std::logic_error if more was done than put.
  void task_done();
  bool all_done() const;

  void encode(ipc::Writer& writer);

  int hang_up_descriptor() const noexcept override { return lifeline_.watch_descriptor(); }
  void list_descriptors(std::vector<int>& to) const override;
  void before_fork() override;
  void after_fork_in_parent() noexcept override;
  void after_fork_in_child(bool given) noexcept override;
  void process_waits() noexcept override;

  void close_in_child() noexcept override;

 protected:
  void member_gone(std::uint32_t place) noexcept override;

 private:
  /// Regions from this one on, of 64 MiB, are given back as soon as they are empty: fresh pages cost more than copying.
  static constexpr unsigned first_large_region = 26;
  /// After so many bytes in the log it is worth a look whether its beginning can be used again. What was read sooner
  /// before may still be in the cache of the core that read it, from where it is slow to fetch for writing.
  static constexpr std::size_t stride = 1 << 20;

  QueueMemory& memory() const noexcept { return state<QueueMemory>(); }
  LogPosition tail() const noexcept { return LogPosition(memory().tail.load(std::memory_order_acquire)); }
  LogPosition head() const noexcept { return LogPosition(memory().head.load(std::memory_order_acquire)); }
  bool move_head(LogPosition from, LogPosition to) noexcept {
    std::uint64_t expected = from.word();
    return memory().head.compare_exchange_strong(expected, to.word(), std::memory_order_seq_cst);
  }

  void begin_to_write();
  // Under the lock:
  bool has_room(LogPosition tail, std::uint64_t units) const noexcept;
  LogPosition make_room(LogPosition tail, std::uint64_t units, std::uint64_t ordinal);
  bool beginning_is_better(LogPosition tail, std::uint64_t units) const noexcept;
  LogPosition jump(LogPosition tail, unsigned region, std::uint64_t ordinal);
  void pass_jumps();
  void see_head();
  void discard_drained() noexcept;
  bool send(QueueItem& item, PacketId& id);

  void give_back() noexcept;
  bool read_message(LogPosition at, const LogRecord& record, LogPosition tail, QueueTaken& taken);
  bool decode_in_place(LogPosition at, std::span<const std::byte> message, QueueTaken& taken);
  bool receive_packet(LogPosition ticket, QueueTaken& taken);
  QueueTake take_any(QueueTaken& taken);
  /// Moves the head past what was taken, or past a ticket whose packet is gone.
  bool pass(LogPosition from, LogPosition to, const LogRecord& record, bool taken);

  // A change of two words, under the lock: whoever finds it half done does the rest.
  void prepare(std::uint64_t first, std::uint64_t before, std::uint64_t target, std::uint64_t value) noexcept;
  void settle() noexcept;

  const bool joinable_;
  QueueLog log_;
  mutable std::recursive_mutex lifeline_mutex_;  // whoever forks holds it, and may run a user's code meanwhile
  Lifeline lifeline_;
  std::unique_ptr<PacketSocket> sender_, receiver_;
  const MessageFiles::Owner files_ = MessageFiles::new_owner();
  std::atomic<std::uint64_t> tail_seen_{0};  // the tail was there, or is further on
  std::atomic<bool> writing_{false};
  std::atomic<bool> reading_{false};
  std::atomic<bool> given_away_{false};
};

using QueuePtr = IntrusivePtr<QueueState>;

[[noreturn]] void throw_queue_closed();
[[noreturn]] void throw_queue_shut();
[[noreturn]] void throw_queue_full();
[[noreturn]] void throw_queue_empty();

}  // namespace cofork::detail
