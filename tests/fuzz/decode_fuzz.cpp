// Decodes hostile bytes as every shape that has a codec: the first byte chooses the shape, the rest is the message.
// What decodes must survive another journey unchanged; what does not must be a DecodeError.
#include <algorithm>
#include <cofork/ipc/codec.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string_view>

#include "ipc/codec_shapes.hpp"

using namespace cofork;
using namespace cofork::ipc;

namespace {

template <class T>
inline constexpr bool is_unordered = requires(T value) {
  value.bucket_count();
};

void require(bool condition) {
  if (!condition) std::abort();
}

template <class T>
void travel(std::span<const std::byte> message) {
  try {
    Reader reader(message);
    const T first = decode<T>(reader);
    reader.finish();
    BufferWriter once, again;
    encode(once, first);
    Reader rereader(once.message());
    const T second = decode<T>(rereader);
    rereader.finish();
    if constexpr (is_unordered<T>) {
      require(first == second);
    } else {
      encode(again, second);
      require(std::ranges::equal(once.message(), again.message()));
    }
  } catch (const DecodeError&) {
  }
}

using Journey = void (*)(std::span<const std::byte>);

/// The shapes in order, and then those that only a reader meets.
std::vector<Journey> journeys() {
  std::vector<Journey> all;
  shapes::for_each([&]<class T>(const T&) {
    if (std::find(all.begin(), all.end(), &travel<T>) == all.end()) all.push_back(&travel<T>);
  });
  all.push_back(&travel<std::string_view>);
  all.push_back(&travel<std::span<const double>>);
  all.push_back(&travel<std::vector<std::pair<std::string_view, std::span<const std::uint16_t>>>>);
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<Journey> all = journeys();
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  // In memory of exactly its size, aligned as a message is.
  const auto alignment = std::align_val_t{message_alignment};
  auto* const memory = static_cast<std::byte*>(::operator new(bytes.size(), alignment));
  std::copy(bytes.begin(), bytes.end(), memory);
  all[data[0] % all.size()]({memory, bytes.size()});
  ::operator delete(memory, alignment);
  return 0;
}
