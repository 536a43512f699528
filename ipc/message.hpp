// A message on its way: encoded here, decoded there, with the descriptors beside it.
#pragma once

#include <array>
#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/message_file.hpp>
#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace cofork::detail {

/// Precedes every message, in the machine's own byte order.
struct MessageHeader {
  enum Kind : std::uint16_t {
    in_line = 1,   ///< `size` bytes follow.
    in_file = 2,   ///< They are in a `MessageFile`, whose descriptor is the first one.
    greeting = 3,  ///< Only at the beginning of a byte stream; see authentication.hpp.
  };
  static constexpr std::uint32_t right_magic = 0x4b464f43;

  std::uint32_t magic = right_magic;
  std::uint16_t kind = in_line;
  std::uint16_t descriptors = 0;
  std::uint64_t size = 0;

  /// Throws DecodeError unless this begins a message.
  void check() const;
};
static_assert(sizeof(MessageHeader) == 16);

/// What a packet of a connection may hold without its header: 256 KiB and what a codec adds. Longer messages go in a
/// file.
inline constexpr std::size_t largest_packet = (std::size_t{256} << 10) + 1024;

/// Memory whose first byte is aligned as a message's, with room for the header right before it. Blocks up to
/// `largest_packet` are kept for the thread's next message.
class MessageBlock {
 public:
  MessageBlock() = default;
  explicit MessageBlock(std::size_t capacity);
  MessageBlock(MessageBlock&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  MessageBlock& operator=(MessageBlock&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~MessageBlock();

  std::byte* data() const noexcept { return data_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::byte* header() const noexcept { return data_ - sizeof(MessageHeader); }

 private:
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
};

/// A value that was encoded to be sent. It lies in a block, or in a memory file where it is too long for that.
class OutgoingMessage final : public ipc::Writer {
 public:
  /// Longer than `in_line_limit`, it goes into a file of the connection `owner`.
  OutgoingMessage(std::size_t in_line_limit, MessageFiles::Owner owner)
      : Writer(nullptr, 0), in_line_limit_(in_line_limit), owner_(owner) {}
  ~OutgoingMessage();

  template <class T>
  static std::unique_ptr<OutgoingMessage> encode(std::size_t in_line_limit, MessageFiles::Owner owner, const T& value) {
    auto message = std::make_unique<OutgoingMessage>(in_line_limit, owner);
    ipc::encode(*message, value);
    message->finish();
    return message;
  }

  /// Once, when all is written. Throws std::invalid_argument when there are more descriptors than can travel.
  void finish();
  /// Moves the message into a file, after all.
  void put_in_file();

  bool in_file() const noexcept { return file_.valid(); }
  /// The receiver has the file now.
  void sent() noexcept { sent_ = true; }
  /// Header and bytes; only the header if they are in a file.
  std::span<const std::byte> frame() const noexcept;
  /// The numbers of the descriptors to send, the file's first.
  std::span<const int> numbers() const noexcept { return numbers_; }

 private:
  void grow(std::size_t at_least) override;
  void move_to_file(std::size_t capacity);
  void complete();

  std::size_t in_line_limit_;
  MessageFiles::Owner owner_;
  bool sent_ = false;
  MessageBlock block_;
  MessageFile file_;
  MessageHeader header_;
  std::vector<int> numbers_;
};

using OutgoingMessagePtr = std::unique_ptr<OutgoingMessage>;

/// A message that was received and not yet decoded.
class IncomingMessage {
 public:
  IncomingMessage() = default;
  IncomingMessage(const IncomingMessage&) = delete;
  IncomingMessage& operator=(const IncomingMessage&) = delete;
  ~IncomingMessage();
  /// `size` bytes in `block`.
  void set(MessageBlock block, std::size_t size, std::vector<ipc::Descriptor> descriptors) noexcept;
  /// `size` bytes in a file that another process made: its descriptor is the first one. Throws DecodeError if it is not
  /// what it should be: so long, and never shorter.
  void set_file(std::uint64_t size, std::vector<ipc::Descriptor> descriptors);

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// A reader of the whole message, which must outlive it. Once.
  ipc::Reader reader() { return ipc::Reader(bytes_, descriptors_); }
  /// The value, once. DecodeError if the message holds anything else.
  template <class T>
  T decode() {
    static_assert(!ipc::is_view_v<T>, "a view would outlive the message that it is decoded from: send what owns");
    ipc::Reader reader(bytes_, descriptors_);
    T value = ipc::decode<T>(reader);
    reader.finish();
    return value;
  }

 private:
  MessageBlock block_;
  ipc::Descriptor file_;
  ipc::Mapping mapping_;
  std::span<const std::byte> bytes_;
  std::vector<ipc::Descriptor> descriptors_;
};

}  // namespace cofork::detail
