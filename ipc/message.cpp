#include <sys/stat.h>

#include <algorithm>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/ipc/message.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace cofork::detail {

namespace {

constexpr auto alignment = std::align_val_t{ipc::message_alignment};
// What is in front of a block's first byte: the header, and what aligns it.
constexpr std::size_t front = ipc::message_alignment;

/// The block that the thread keeps: sending and receiving one message after the other needs no other one.
struct KeptBlock {
  std::byte* data = nullptr;
  std::size_t capacity = 0;
};
constinit thread_local KeptBlock kept;
constinit thread_local bool thread_ends = false;

struct KeptBlockOwner {
  ~KeptBlockOwner() {
    thread_ends = true;
    if (kept.data != nullptr) ::operator delete(std::exchange(kept.data, nullptr) - front, alignment);
  }
  void touch() const noexcept {}
};
thread_local KeptBlockOwner kept_owner;

}  // namespace

void MessageHeader::check() const {
  if (magic != right_magic) throw DecodeError("malformed message: these are not the bytes of a connection");
  if (kind != in_line && kind != in_file) throw DecodeError("malformed message: of an unknown kind");
  if (descriptors > ipc::max_descriptors_per_message || (kind == in_file && descriptors == 0))
    throw DecodeError("malformed message: an impossible number of descriptors");
}

MessageBlock::MessageBlock(std::size_t capacity) {
  if (kept.data != nullptr && kept.capacity >= capacity) {
    data_ = std::exchange(kept.data, nullptr);
    capacity_ = kept.capacity;
    return;
  }
  if (capacity > std::numeric_limits<std::ptrdiff_t>::max() - front) throw std::length_error("message too large");
  data_ = static_cast<std::byte*>(::operator new(front + capacity, alignment)) + front;
  capacity_ = capacity;
}

MessageBlock::~MessageBlock() {
  if (data_ == nullptr) return;
  if (capacity_ <= 2 * largest_packet && !thread_ends && (kept.data == nullptr || kept.capacity < capacity_)) {
    kept_owner.touch();
    std::swap(kept.data, data_);
    std::swap(kept.capacity, capacity_);
    if (data_ == nullptr) return;
  }
  ::operator delete(data_ - front, alignment);
}

void OutgoingMessage::grow(std::size_t at_least) {
  const std::size_t smallest = 1024;
  const std::size_t wanted = std::max({at_least, 2 * capacity(), smallest});
  if (in_file()) {
    file_.grow(wanted);
    moved_to(file_.data(), file_.capacity());
  } else if (at_least > in_line_limit_) {
    move_to_file(wanted);
  } else {
    MessageBlock larger(std::min(wanted, in_line_limit_));
    if (size() != 0) std::memcpy(larger.data(), data(), size());
    moved_to(larger.data(), std::min(larger.capacity(), in_line_limit_));
    block_ = std::move(larger);
  }
}

OutgoingMessage::~OutgoingMessage() {
  if (!in_file()) return;
  if (!sent_) file_.take_back();
  MessageFiles::keep(owner_, std::move(file_));
}

void OutgoingMessage::move_to_file(std::size_t capacity) {
  MessageFile file = MessageFiles::take(owner_, capacity);
  if (size() != 0) std::memcpy(file.data(), data(), size());
  moved_to(file.data(), file.capacity());
  file_ = std::move(file);
  block_ = MessageBlock();
}

void OutgoingMessage::put_in_file() {
  if (in_file()) return;
  move_to_file(std::max<std::size_t>(size(), 1));
  complete();
}

void OutgoingMessage::finish() {
  if (size() == 0) reserve(1);
  complete();
}

void OutgoingMessage::complete() {
  numbers_.clear();
  if (in_file()) {
    file_.lend();
    numbers_.push_back(file_.descriptor());
  }
  for (const ipc::Descriptor& descriptor : descriptors()) numbers_.push_back(descriptor.get());
  if (numbers_.size() > ipc::max_descriptors_per_message)
    throw std::invalid_argument("a message with " + std::to_string(numbers_.size()) +
                                " descriptors: no more than 253 can travel together");
  header_.kind = in_file() ? MessageHeader::in_file : MessageHeader::in_line;
  header_.descriptors = static_cast<std::uint16_t>(numbers_.size());
  header_.size = size();
  if (!in_file()) std::memcpy(block_.header(), &header_, sizeof header_);
}

std::span<const std::byte> OutgoingMessage::frame() const noexcept {
  if (in_file()) return std::as_bytes(std::span(&header_, 1));
  return {block_.header(), sizeof header_ + size()};
}

void IncomingMessage::set(MessageBlock block, std::size_t size, std::vector<ipc::Descriptor> descriptors) noexcept {
  block_ = std::move(block);
  bytes_ = {block_.data(), size};
  descriptors_ = std::move(descriptors);
}

IncomingMessage::~IncomingMessage() {
  if (file_.valid()) MessageFile::give_back(file_.get());
}

void IncomingMessage::set_file(std::uint64_t size, std::vector<ipc::Descriptor> descriptors) {
  const int file = descriptors.front().get();
  struct stat status = {};
  if (!ipc::cannot_shrink(file) || ::fstat(file, &status) < 0)
    throw DecodeError("malformed message: its file could be truncated while it is read");
  const auto file_size = static_cast<std::uint64_t>(status.st_size);
  // A file with holes would make much of nothing.
  if (file_size < MessageFile::front || size > file_size - MessageFile::front ||
      size > static_cast<std::uint64_t>(status.st_blocks) * 512)
    throw DecodeError("truncated message: its file is too short");
  mapping_ = ipc::Mapping(file, MessageFile::front + static_cast<std::size_t>(size), ipc::Mapping::Access::read);
  bytes_ = mapping_.bytes().subspan(MessageFile::front);
  file_ = std::move(descriptors.front());
  descriptors.erase(descriptors.begin());
  descriptors_ = std::move(descriptors);
}

}  // namespace cofork::detail
