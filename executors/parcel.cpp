#include <cofork/executors/parcel.hpp>
#include <cstring>
#include <utility>

namespace cofork::detail {

namespace {
std::size_t skip_items(std::span<const std::byte> message, std::size_t offset, std::uint32_t items) {
  for (; items > 0; --items) {
    ipc::ItemSize size;
    std::memcpy(&size, message.data() + offset, sizeof size);
    offset += sizeof size + size;
  }
  return offset;
}
}  // namespace

Parcel::Parcel(IntrusivePtr<Piece> piece, const ipc::TaskSender::Sent& sent, std::uint32_t first, std::uint32_t count)
    : piece_(std::move(piece)),
      statistics_(piece_->statistics),
      function_(sent.function), flags_(sent.flags), first_offset_(sent.first_offset), count_(count) {
  piece_->parcel = this;
  std::size_t begin = 0;
  std::size_t end = sent.message.size();
  if (flags_ & ipc::TaskFrame::chunk) {
    const std::size_t from = skip_items(sent.message, sent.first_offset, first);
    end = skip_items(sent.message, from, count);
    // What is aligned in the message stays aligned.
    begin = from / ipc::message_alignment * ipc::message_alignment;
    first_offset_ = static_cast<std::uint32_t>(from - begin);
  }
  message_.reserve(end - begin);
  message_.bytes(sent.message.data() + begin, end - begin);
  for (const ipc::Descriptor& descriptor : sent.descriptors)
    descriptors_.push_back(ipc::Descriptor::duplicate(descriptor.get()));
}

Filled Parcel::fill(ipc::TaskSender::Message& message, std::uint32_t) {
  message.reserve(message_.size());
  message.bytes(message_.data(), message_.size());
  for (const ipc::Descriptor& descriptor : descriptors_) message.descriptor(descriptor.get());
  forget();
  return {std::move(piece_), function_, count_, flags_, first_offset_};
}

void Parcel::drop(const std::exception_ptr& error) noexcept {
  forget();
  for (std::uint32_t item = 0; item < count_; ++item) {
    if (error)
      piece_->failed(item, error);
    else
      piece_->cancelled(item);
  }
}

}  // namespace cofork::detail
