#include <unistd.h>

#include <cofork/runtime/byte_stream.hpp>
#include <cofork/runtime/descriptor.hpp>
#include <utility>

namespace cofork {

ByteStream ByteStream::adopt(int descriptor) {
  return ByteStream(detail::make_intrusive<detail::StreamState>(
      detail::Descriptor(descriptor), "descriptor " + std::to_string(descriptor), detail::StreamState::Kind::unknown));
}

detail::WriteAll ByteStream::write(std::span<const std::span<const std::byte>> buffers) {
  std::vector<iovec> list;
  list.reserve(buffers.size());
  for (const std::span<const std::byte>& buffer : buffers) list.push_back(detail::as_buffer(buffer));
  return {state(), std::move(list)};
}

Task<> ByteStream::shutdown_write() {
  state()->shutdown_write();
  co_return;
}

void ByteStream::close() noexcept {
  if (handle_state()) static_cast<detail::StreamState*>(handle_state())->close();
  reset();
}

int ByteStream::release() {
  const int descriptor = state()->release();
  reset();
  return descriptor;
}

}  // namespace cofork
