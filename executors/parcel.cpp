#include <algorithm>
#include <cofork/executors/parcel.hpp>
#include <cofork/executors/pool_core.hpp>
#include <cstring>
#include <utility>

namespace cofork::detail {

namespace {
/// A place between two items of a chunk.
struct Place {
  std::size_t offset;
  std::size_t descriptor;
};

Place skip_items(std::span<const std::byte> message, Place place, std::uint32_t items) {
  for (; items > 0; --items) {
    ipc::ItemHeader header;
    std::memcpy(&header, message.data() + place.offset, sizeof header);
    place.offset += sizeof header + header.size;
    place.descriptor += header.descriptors;
  }
  return place;
}
}  // namespace

Parcel::Parcel(PoolCore& core, IntrusivePtr<Piece> piece, const ipc::TaskSender::Sent& sent, std::uint32_t first,
               std::uint32_t count)
    : core_(core),
      piece_(std::move(piece)),
      statistics_(piece_->statistics),
      function_(sent.function),
      flags_(sent.flags),
      first_offset_(sent.first_offset),
      count_(count) {
  priority = piece_->limits.priority;
  Place begin{0, 0};
  Place end{sent.message.size(), sent.descriptors.size()};
  if (flags_ & ipc::TaskFrame::chunk) {
    begin = skip_items(sent.message, {sent.first_offset, 0}, first);
    end = skip_items(sent.message, begin, count);
    // What is aligned in the message stays aligned.
    first_offset_ = static_cast<std::uint32_t>(begin.offset % ipc::message_alignment);
    begin.offset -= first_offset_;
  }
  message_.bytes(sent.message.data() + begin.offset, end.offset - begin.offset);
  for (; begin.descriptor < end.descriptor; ++begin.descriptor)
    message_.descriptor(sent.descriptors[begin.descriptor].get());
  piece_->parcel = this;
}

Filled Parcel::fill(ipc::TaskSender::Message& message, std::uint32_t items) {
  if (items < count_) {
    // The worker takes no more: the rest goes to the next one.
    const IntrusivePtr<Piece> rest = piece_->split(items, count_ - items);
    const ipc::TaskSender::Sent all{function_, flags_, first_offset_, message_.message(), message_.descriptors()};
    core_.push_front(*make_intrusive<Parcel>(core_, rest, all, items, count_ - items));
    const Place end = skip_items(message_.message(), {first_offset_, 0}, items);
    message.bytes(message_.data(), end.offset);
    message_.descriptors().resize(end.descriptor);
    count_ = items;
  } else {
    message.bytes(message_.data(), message_.size());
  }
  for (const ipc::Descriptor& descriptor : message_.descriptors()) message.descriptor(descriptor.get());
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
    core_.ended(piece_);
  }
  if (!error) core_.count_cancelled(*piece_, 0, count_);
}

}  // namespace cofork::detail
