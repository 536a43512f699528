#include <cofork/ipc/codec.hpp>
#include <cofork/runtime/errors.hpp>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "support/catch.hpp"

using namespace cofork;
using namespace cofork::ipc;

namespace {

bool is_inside(const void* address, std::span<const std::byte> message) {
  return std::less_equal<>{}(message.data(), static_cast<const std::byte*>(address)) &&
         std::less_equal<>{}(static_cast<const std::byte*>(address), message.data() + message.size());
}

}  // namespace

TEST_CASE("a span is decoded in place, aligned") {
  const std::vector<double> numbers{1, 2, 3};
  BufferWriter writer;
  encode(writer, 'x');
  encode(writer, std::span<const double>(numbers));
  Reader reader(writer.message());
  CHECK(decode<char>(reader) == 'x');
  const auto view = decode<std::span<const double>>(reader);
  reader.finish();
  CHECK(std::vector<double>(view.begin(), view.end()) == numbers);
  CHECK(is_inside(view.data(), writer.message()));
  CHECK(reinterpret_cast<std::uintptr_t>(view.data()) % alignof(double) == 0);
}

TEST_CASE("a string_view is decoded in place") {
  BufferWriter writer;
  encode(writer, std::string_view("text"));
  encode(writer, std::u32string_view(U"wide"));
  Reader reader(writer.message());
  const auto view = decode<std::string_view>(reader);
  CHECK(view == "text");
  CHECK(is_inside(view.data(), writer.message()));
  CHECK(decode<std::u32string_view>(reader) == U"wide");
  reader.finish();
}

TEST_CASE("a string is decoded as a view, and a vector as a span, from the same bytes") {
  BufferWriter writer;
  encode(writer, std::string("text"));
  encode(writer, std::vector<int>{1, 2});
  Reader reader(writer.message());
  CHECK(decode<std::string_view>(reader) == "text");
  CHECK(decode<std::span<const int>>(reader)[1] == 2);
}

TEST_CASE("a span of a structure with padding or a bool is its memory") {
  struct Padded {
    bool flag;
    double number;
  };
  const std::vector<Padded> values{{true, 1}, {false, 2}};
  BufferWriter writer;
  encode(writer, std::span<const Padded>(values));
  Reader reader(writer.message());
  const auto view = decode<std::span<const Padded>>(reader);
  CHECK(view[0].flag);
  CHECK(view[1].number == 2);
}

TEST_CASE("a span of fixed extent accepts that many elements and no other number") {
  const std::vector<int> numbers{1, 2, 3};
  BufferWriter writer;
  encode(writer, std::span<const int, 3>(numbers));
  Reader good(writer.message());
  CHECK(decode<std::span<const int, 3>>(good)[2] == 3);
  Reader bad(writer.message());
  CHECK_THROWS_AS((decode<std::span<const int, 2>>(bad)), DecodeError);
}

TEST_CASE("empty views are decoded") {
  BufferWriter writer;
  encode(writer, std::string_view());
  encode(writer, std::span<const double>());
  Reader reader(writer.message());
  CHECK(decode<std::string_view>(reader).empty());
  CHECK(decode<std::span<const double>>(reader).empty());
  reader.finish();
}

TEST_CASE("a view in a message at an odd address is a DecodeError") {
  BufferWriter writer;
  encode(writer, std::span<const double>(std::vector<double>{1}));
  std::vector<std::byte> odd(writer.size() + 1);
  std::copy(writer.message().begin(), writer.message().end(), odd.begin() + 1);
  Reader reader{std::span<const std::byte>(odd).subspan(1)};
  CHECK_THROWS_AS(decode<std::span<const double>>(reader), DecodeError);
}

TEST_CASE("views inside other values are views too") {
  BufferWriter writer;
  encode(writer, std::vector<std::string_view>{"a", "b"});
  Reader reader(writer.message());
  const auto views = decode<std::vector<std::string_view>>(reader);
  CHECK(views == std::vector<std::string_view>{"a", "b"});
  CHECK(is_inside(views[1].data(), writer.message()));
}
