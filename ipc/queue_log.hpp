// Where the messages of a queue lie: a log in shared memory that grows with what is in it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/runtime/sanitizers.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cofork::detail {

/// A place in the log, which no other record ever has again, and the region that it lies in: one word, for atomics.
class LogPosition {
 public:
  /// Records begin at multiples of it.
  static constexpr std::size_t unit = 16;
  static constexpr unsigned first_region = 16;  ///< of 2^16 bytes
  static constexpr unsigned last_region = 46;

  LogPosition() = default;
  explicit LogPosition(std::uint64_t word) : word_(word) {}
  LogPosition(unsigned region, std::uint64_t number) : word_(std::uint64_t{region} << number_bits | number) {}

  std::uint64_t word() const noexcept { return word_; }
  /// The exponent of the region's size.
  unsigned region() const noexcept { return static_cast<unsigned>(word_ >> number_bits); }
  /// How many units lie before it, in all regions.
  std::uint64_t number() const noexcept { return word_ & ((std::uint64_t{1} << number_bits) - 1); }
  std::size_t offset() const noexcept {
    return static_cast<std::size_t>(number() * unit & ((std::uint64_t{1} << region()) - 1));
  }
  LogPosition plus(std::uint64_t units) const noexcept { return LogPosition(word_ + units); }
  /// Where the log goes on behind a jump at this place.
  LogPosition jump_to(unsigned to) const noexcept {
    const std::uint64_t size = (std::uint64_t{1} << to) / unit;
    return LogPosition(to, to == region() ? (number() | (size - 1)) + 1 : number() + 1);
  }
  friend bool operator==(LogPosition, LogPosition) = default;

 private:
  static constexpr unsigned number_bits = 58;
  std::uint64_t word_ = 0;
};

/// What each record begins with.
struct LogRecord {
  enum Kind : std::uint16_t {
    message = 1,  ///< `size` bytes follow
    ticket = 2,   ///< the message is a packet in the queue's socket; a `PacketId` follows
    jump = 3,     ///< the log goes on in the region `size`; if it is this one, at its beginning
  };
  static constexpr unsigned size_bits = 48;
  static constexpr std::uint64_t largest = (std::uint64_t{1} << size_bits) - 1;

  std::uint64_t kind_and_size = 0;
  /// How many messages were put before this one. It is there before the record is, as long as it is the next one.
  std::uint64_t ordinal = 0;

  static std::uint64_t pack(Kind kind, std::uint64_t size) { return std::uint64_t{kind} << size_bits | size; }
  Kind kind() const noexcept { return static_cast<Kind>(kind_and_size >> size_bits); }
  std::uint64_t size() const noexcept { return kind_and_size & largest; }
  /// Units that a record with so many bytes takes.
  static std::uint64_t units(std::uint64_t size) noexcept {
    return 1 + (size + LogPosition::unit - 1) / LogPosition::unit;
  }
};
static_assert(sizeof(LogRecord) == LogPosition::unit);

/// The memory of the log, as this process sees it. Region n is a ring of 2^n bytes, and lies at byte 2^n of a sparse
/// file; records wrap around its end. What is in a region, and who may write there, is for the queue to know; reading
/// what another one writes at the same time gives any bytes at all. Thread-safe.
class QueueLog {
 public:
  /// Where what loses a race is thrown away unseen, bytes may be copied as a block, which is faster than word by word.
  /// The thread sanitizer cannot know that they are.
  static constexpr bool copies_blocks = !thread_sanitizer;

  /// A new one, with the first region. Throws std::system_error.
  QueueLog();
  /// One that came from another process. Throws DecodeError if it is no log.
  explicit QueueLog(ipc::Descriptor file);
  QueueLog(const QueueLog&) = delete;
  QueueLog& operator=(const QueueLog&) = delete;
  ~QueueLog();

  int descriptor() const noexcept { return file_.descriptor(); }
  /// In a child that was not given it: its number may be another file's.
  void forget_file() noexcept { static_cast<void>(file_.release().release()); }

  /// Makes the region usable for everybody. Throws std::system_error.
  void provide(unsigned region);
  /// Gives its memory back to the system.
  void discard(unsigned region) noexcept;

  /// These throw DecodeError if the region does not exist.
  LogRecord read(LogPosition at) const {
    std::byte* const record = memory(at.region()) + at.offset();
    return {load(record), load(record + sizeof(Word))};
  }
  std::uint64_t ordinal(LogPosition at) const { return load(memory(at.region()) + at.offset() + sizeof(Word)); }
  void set_ordinal(LogPosition at, std::uint64_t ordinal) {
    store(memory(at.region()) + at.offset() + sizeof(Word), ordinal);
  }
  void set_kind_and_size(LogPosition at, std::uint64_t kind_and_size) {
    store(memory(at.region()) + at.offset(), kind_and_size);
  }
  /// Before a record of so many bytes is written: fetches the cache lines behind its first one, and as many again for
  /// the next one, all at once. The core that reads the log has them, and stores would wait for one after the other.
  void expect_writing(LogPosition at, std::size_t size) const noexcept;
  /// The bytes of the record at `at`, from its `first` on, a multiple of 8.
  void write_bytes(LogPosition at, std::size_t first, std::span<const std::byte> bytes) {
    std::byte* const ring = memory(at.region());
    const std::size_t begin = (at.plus(1).offset() + first) & (size_of(at.region()) - 1);
    const std::size_t before_end = std::min(bytes.size(), size_of(at.region()) - begin);
    store_words(ring + begin, bytes.data(), before_end);
    if (before_end < bytes.size()) [[unlikely]]
      store_words(ring, bytes.data() + before_end, bytes.size() - before_end);
  }
  /// `to` has room for a multiple of 8.
  void read_bytes(LogPosition at, std::byte* to, std::size_t size) const {
    std::byte* const ring = memory(at.region());
    const std::size_t begin = at.plus(1).offset();
    const std::size_t before_end = std::min(size, size_of(at.region()) - begin);
    load_words(to, ring + begin, before_end);
    if (before_end < size) [[unlikely]]
      load_words(to + before_end, ring, size - before_end);
  }
  /// Where they lie, if they do in one piece; null otherwise.
  const std::byte* bytes_in_place(LogPosition at, std::size_t size) const {
    const std::size_t begin = at.plus(1).offset();
    return size <= size_of(at.region()) - begin ? memory(at.region()) + begin : nullptr;
  }

 private:
  // Word by word, and each of them atomic: somebody may write them at this moment.
  using Word = std::uint64_t;
  static constexpr std::size_t block_size = 4096;

  static constexpr std::size_t size_of(unsigned region) { return std::size_t{1} << region; }
  static std::atomic_ref<Word> word_at(std::byte* place) {
    return std::atomic_ref<Word>(*reinterpret_cast<Word*>(place));
  }
  static Word load(std::byte* place) { return word_at(place).load(std::memory_order_relaxed); }
  static void store(std::byte* place, Word value) { word_at(place).store(value, std::memory_order_relaxed); }

  static void store_words(std::byte* to, const std::byte* from, std::size_t size) {
    if (copies_blocks && size >= block_size) {
      std::memcpy(to, from, size);
      return;
    }
    for (; size >= sizeof(Word); size -= sizeof(Word), from += sizeof(Word), to += sizeof(Word)) {
      Word word;
      std::memcpy(&word, from, sizeof word);
      store(to, word);
    }
    if (size == 0) return;
    Word word = 0;
    std::memcpy(&word, from, size);
    store(to, word);
  }
  static void load_words(std::byte* to, std::byte* from, std::size_t size) {
    const std::byte* const end = from + size;
    for (; from < end; from += sizeof(Word), to += sizeof(Word)) {
      const Word word = load(from);
      std::memcpy(to, &word, sizeof word);
    }
  }

  std::byte* memory(unsigned region) const {
    if (region > LogPosition::last_region) [[unlikely]]
      fail();
    std::byte* const known = regions_[region].load(std::memory_order_acquire);
    return known ? known : map(region);
  }
  std::byte* map(unsigned region) const;
  [[noreturn]] static void fail();

  ipc::MemoryFile file_;
  mutable std::array<std::atomic<std::byte*>, LogPosition::last_region + 1> regions_{};
};

}  // namespace cofork::detail
