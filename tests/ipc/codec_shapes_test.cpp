#include <algorithm>
#include <cofork/ipc/codec.hpp>
#include <string>
#include <vector>

#include "ipc/codec_message.hpp"
#include "ipc/codec_shapes.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace cofork::ipc;

namespace {

template <class T>
bool same(const T& a, const T& b) {
  if constexpr (requires {
                  a.get();
                  *a;
                }) {
    return a && b ? same(*a, *b) : !a && !b;
  } else if constexpr (requires { a.size(), *a[0]; }) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](auto& x, auto& y) { return same(x, y); });
  } else {
    return a == b;
  }
}

/// One value of one shape, encoded, and what to do with its bytes or others.
struct Sample {
  std::string type;
  std::vector<std::byte> bytes;
  bool arrived;
  bool (*decodes)(std::span<const std::byte>);
};

const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = [] {
    std::vector<Sample> made;
    shapes::for_each([&]<class T>(const T& value) {
      BufferWriter writer;
      encode(writer, value);
      Reader reader(writer.message());
      const bool arrived = same(decode<T>(reader), value) && reader.remaining() == 0;
      made.push_back(
          {typeid(T).name(), {writer.message().begin(), writer.message().end()}, arrived, &support::decodes<T>});
    });
    return made;
  }();
  return all;
}

}  // namespace

TEST_CASE("every shape arrives as it was sent") {
  for (const Sample& sample : samples()) {
    INFO(sample.type);
    CHECK(sample.arrived);
    CHECK(sample.decodes(sample.bytes));
    CHECK_FALSE(sample.bytes.empty());
  }
}

TEST_CASE("a message cut short anywhere is a DecodeError") {
  for (const Sample& sample : samples()) {
    for (std::size_t n = 0; n != sample.bytes.size(); ++n) {
      INFO(sample.type << ": " << n << " of " << sample.bytes.size());
      CHECK_FALSE(sample.decodes(std::span(sample.bytes).first(n)));
    }
  }
}

TEST_CASE("bytes after the end of a message are a DecodeError") {
  for (const Sample& sample : samples()) {
    INFO(sample.type);
    auto longer = sample.bytes;
    longer.push_back(std::byte{0});
    CHECK_FALSE(sample.decodes(longer));
  }
}

TEST_CASE("a message with one byte changed is another value or a DecodeError") {
  for (const Sample& sample : samples()) {
    INFO(sample.type);
    auto bytes = sample.bytes;
    for (auto& byte : bytes) {
      const std::byte kept = byte;
      for (const int change : {0x01, 0x02, 0x80, 0x7f, 0xff}) {
        byte = kept ^ static_cast<std::byte>(change);
        CHECK_NOTHROW(sample.decodes(bytes));
      }
      for (const int replacement : {0, 1, 2, 253, 254, 255}) {
        byte = static_cast<std::byte>(replacement);
        CHECK_NOTHROW(sample.decodes(bytes));
      }
      byte = kept;
    }
  }
}
