#include <cofork/ipc/reader.hpp>
#include <cofork/runtime/errors.hpp>

#include <limits>
#include <string>
#include <utility>

namespace cofork::ipc {

Descriptor Reader::descriptor() {
  if (descriptors_.empty()) fail("a descriptor did not come with it");
  Descriptor taken = std::move(descriptors_.front());
  descriptors_ = descriptors_.subspan(1);
  return taken;
}

std::size_t Reader::long_size(std::size_t marker) {
  if (marker == 254) return value<std::uint32_t>();
  const auto n = value<std::uint64_t>();
  if (n > std::numeric_limits<std::size_t>::max() / 2) fail("a length beyond the end of the message");
  return static_cast<std::size_t>(n);
}

void Reader::fail(const char* why) { throw DecodeError(std::string("malformed message: ") + why); }

void Reader::truncated(std::size_t wanted) const {
  throw DecodeError("truncated message: " + std::to_string(wanted) + " bytes wanted, " + std::to_string(remaining()) +
                    " left");
}

}  // namespace cofork::ipc
