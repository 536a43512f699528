// A message on its way between a value and the log of a queue.
#pragma once

#include <algorithm>
#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/queue_state.hpp>
#include <cofork/ipc/writer.hpp>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cofork {

namespace detail {

/// A message in a packet: after the room for its number.
template <class T>
struct Packed {
  T value;
};

/// Encodes one message after the other into the same memory, unless it grew too large. Not for keeping: the next
/// message of this thread overwrites it.
class ThreadsWriter {
 public:
  ThreadsWriter();
  ThreadsWriter(const ThreadsWriter&) = delete;
  ThreadsWriter& operator=(const ThreadsWriter&) = delete;
  ~ThreadsWriter();

  ipc::BufferWriter& operator*() const noexcept { return *writer_; }

 private:
  std::unique_ptr<ipc::BufferWriter> writer_;
};

/// Encoded as it lies in memory.
template <class T>
inline constexpr bool is_copied_whole = is_bytes<T>() && kind_of<T>() != Kind::custom;
/// Nothing in it can be a descriptor. More types hold none, but it takes a look at a message to know.
template <class T>
inline constexpr bool surely_without_descriptors = is_bytes<T>();

/// One block of plain data: it goes from where it lies into the log, and from there to where it will be, with no buffer
/// in between.
template <class T>
inline constexpr bool is_block = false;
template <class C, class Traits, class A>
inline constexpr bool is_block<std::basic_string<C, Traits, A>> = true;
template <class T, class A>
inline constexpr bool is_block<std::vector<T, A>> = is_bytes<T>();
template <class A>
inline constexpr bool is_block<std::vector<bool, A>> = false;

/// A block that is to be put: what stands before it, and so much of it as makes that a multiple of words.
template <class T>
class BlockItem : private ipc::Writer {
  using Element = typename T::value_type;

 public:
  /// Refers to `value`.
  explicit BlockItem(const T& value) : Writer(head_, sizeof head_) {
    encode_block_head<Element>(*this, value.size());
    const auto block = std::as_bytes(std::span(value.data(), value.size()));
    const std::size_t first = std::min(block.size(), (word - size() % word) % word);
    bytes(block.data(), first);
    item_.bytes = message();
    item_.more = block.subspan(first);
  }
  QueueItem& operator*() noexcept { return item_; }

 private:
  static constexpr std::size_t word = 8;
  static constexpr std::size_t longest_size = 9;
  void grow(std::size_t) override { throw std::bad_alloc(); }

  alignas(ipc::message_alignment) std::byte head_[longest_size + ipc::message_alignment + word];
  QueueItem item_;
};

inline QueueItem encoded_item(const QueueState& queue, ipc::Writer& writer) {
  QueueItem item;
  if (writer.descriptors().empty())
    item.bytes = writer.message();
  else
    item.packet = queue.packet_of(writer);
  return item;
}

/// A message that waits for room; `value` must outlive it.
template <class T>
class WaitingItem {
 public:
  WaitingItem(const QueueState& queue, const T& value) {
    ipc::encode(writer_, value);
    item_ = encoded_item(queue, writer_);
  }
  QueueItem& operator*() noexcept { return item_; }

 private:
  ipc::BufferWriter writer_;
  QueueItem item_;
};
template <class T>
requires is_block<T>
class WaitingItem<T> : public BlockItem<T> {
 public:
  WaitingItem(const QueueState&, const T& value) : BlockItem<T>(value) {}
};

template <class T>
void decode_message(void* value, std::span<const std::byte> message) {
  ipc::Reader reader(message);
  auto& to = *static_cast<std::optional<T>*>(value);
  if constexpr (decodes_in_place<T>) {
    to.emplace(Decoding<T>{reader});
  } else {
    to.emplace(ipc::decode<T>(reader));
  }
  reader.finish();
}

}  // namespace detail

template <class T>
struct Codec<detail::Packed<T>> : detail::OwnCodec<T> {
  static void encode(ipc::Writer&, const detail::Packed<T>&) = delete;
  static detail::Packed<T> decode(ipc::Reader& reader) {
    reader.in_place(detail::packet_id_room);
    return {ipc::decode<T>(reader)};
  }
};

}  // namespace cofork
