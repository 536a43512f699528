#include <cofork/ipc/writer.hpp>

#include <algorithm>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

namespace cofork::ipc {

void Writer::descriptor(int fd) { descriptors_.push_back(Descriptor::duplicate(fd)); }

void Writer::make_room(std::size_t n) {
  if (n > std::numeric_limits<std::ptrdiff_t>::max() - size()) throw std::length_error("message too large");
  grow(size() + n);
}

void Writer::long_size(std::size_t n) {
  if (n <= std::numeric_limits<std::uint32_t>::max()) {
    value(std::uint8_t{254});
    value(static_cast<std::uint32_t>(n));
  } else {
    value(std::uint8_t{255});
    value(static_cast<std::uint64_t>(n));
  }
}

void Writer::too_deep() {
  --depth_;
  throw std::length_error("a value nested more than " + std::to_string(max_nesting) + " deep cannot be encoded");
}

BufferWriter::~BufferWriter() { ::operator delete (begin_, std::align_val_t{message_alignment}); }

void BufferWriter::grow(std::size_t at_least) {
  const std::size_t smallest = 256;
  const std::size_t wanted = std::max({at_least, 2 * capacity(), smallest});
  std::byte* const old = begin_;
  auto* const fresh = static_cast<std::byte*>(::operator new (wanted, std::align_val_t{message_alignment}));
  if (size() != 0) std::memcpy(fresh, old, size());
  moved_to(fresh, wanted);
  ::operator delete (old, std::align_val_t{message_alignment});
}

}  // namespace cofork::ipc
