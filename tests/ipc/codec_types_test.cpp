// What can travel and what cannot, as the compiler sees it.
#include <atomic>
#include <cofork/ipc/codec.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "ipc/codec_shapes.hpp"
#include "support/catch.hpp"

using cofork::Encodable;
using cofork::ipc::is_view_v;

namespace {

class Secret {
 public:
  explicit Secret(std::string text) : text_(std::move(text)) {}

 private:
  std::string text_;
};
struct HoldsSecret {
  int number;
  std::vector<Secret> secrets;
};
struct HoldsPointer {
  const char* text;
};
struct HoldsReference {
  int& number;
};
struct HoldsConstReference {
  const std::string& text;
};
struct HoldsMemberPointer {
  int HoldsPointer::*member;
};
struct WithBase : shapes::Point {
  int more;
};
struct TooMany {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z;
  int aa, bb, cc, dd, ee, ff, gg;
};
struct HoldsView {
  int number;
  std::string_view text;
};
struct Recursive {
  std::map<std::string, Recursive> children;
  std::vector<std::unique_ptr<Recursive>> more;
};
struct RecursiveAndBad {
  std::vector<RecursiveAndBad> children;
  void* pointer;
};
/// A template with a codec where its part has one.
template <class T>
class Box {
 public:
  explicit Box(T value) : value_(std::move(value)) {}
  const T& value() const { return value_; }

 private:
  T value_;
};
struct OpaqueBase {
  int id = 0;
};
class Opaque : public OpaqueBase {
  std::string text_;
};
union Either {
  int number;
  float real;
};
struct Pair {
  double x, y;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(x, y);
  }
};

}  // namespace

template <class T>
struct cofork::Codec<Box<T>> {
  using parts = ipc::Types<T>;
  static void encode(ipc::Writer& writer, const Box<T>& box) { ipc::encode(writer, box.value()); }
  static Box<T> decode(ipc::Reader& reader) { return Box<T>(ipc::decode<T>(reader)); }
};
namespace cofork {
// A codec for a whole family of types, even ones that would have another without it.
template <class T>
requires std::derived_from<T, OpaqueBase>
struct Codec<T> {
  static void encode(ipc::Writer& writer, const T& value) { writer.value(value.id); }
  static T decode(ipc::Reader& reader) {
    T value;
    value.id = reader.value<int>();
    return value;
  }
};
}  // namespace cofork

TEST_CASE("pointers, references, callables and what holds them cannot travel") {
  STATIC_REQUIRE_FALSE(Encodable<int*>);
  STATIC_REQUIRE_FALSE(Encodable<void>);
  STATIC_REQUIRE_FALSE(Encodable<void (*)()>);
  STATIC_REQUIRE_FALSE(Encodable<void()>);
  STATIC_REQUIRE_FALSE(Encodable<std::nullptr_t>);
  STATIC_REQUIRE_FALSE(Encodable<int&>);
  STATIC_REQUIRE_FALSE(Encodable<int HoldsPointer::*>);
  STATIC_REQUIRE_FALSE(Encodable<HoldsPointer>);
  STATIC_REQUIRE_FALSE(Encodable<HoldsReference>);
  STATIC_REQUIRE_FALSE(Encodable<HoldsConstReference>);
  STATIC_REQUIRE_FALSE(Encodable<HoldsMemberPointer>);
  STATIC_REQUIRE_FALSE(Encodable<std::reference_wrapper<int>>);
  STATIC_REQUIRE_FALSE(Encodable<std::function<void()>>);
  STATIC_REQUIRE_FALSE(Encodable<std::initializer_list<int>>);
  STATIC_REQUIRE_FALSE(Encodable<std::coroutine_handle<>>);
  STATIC_REQUIRE_FALSE(Encodable<std::vector<int>::iterator>);
  STATIC_REQUIRE_FALSE(Encodable<std::list<int>::const_iterator>);
  STATIC_REQUIRE_FALSE(Encodable<std::error_code>);
  STATIC_REQUIRE_FALSE(Encodable<std::weak_ptr<int>>);
  STATIC_REQUIRE_FALSE(Encodable<std::unique_ptr<int[]>>);
  STATIC_REQUIRE_FALSE(Encodable<std::shared_ptr<void>>);
  STATIC_REQUIRE_FALSE(Encodable<std::mutex>);
  STATIC_REQUIRE_FALSE(Encodable<std::atomic<int>>);
  STATIC_REQUIRE_FALSE(Encodable<std::thread>);
  STATIC_REQUIRE_FALSE(Encodable<std::tuple<int&>>);
  int number = 0;
  const auto closure = [&number] { return ++number; };
  const auto empty = [] { return 1; };
  STATIC_REQUIRE_FALSE(Encodable<decltype(closure)>);
  STATIC_REQUIRE(Encodable<decltype(empty)>);
  CHECK(closure() == empty());
}

TEST_CASE("a type is as good as the types inside it") {
  STATIC_REQUIRE_FALSE(Encodable<Secret>);
  STATIC_REQUIRE_FALSE(Encodable<std::vector<Secret>>);
  STATIC_REQUIRE_FALSE(Encodable<HoldsSecret>);
  STATIC_REQUIRE_FALSE(Encodable<std::map<int, std::optional<HoldsSecret>>>);
  STATIC_REQUIRE_FALSE(Encodable<std::variant<int, Secret>>);
  STATIC_REQUIRE_FALSE(Encodable<std::unique_ptr<Secret>>);
  STATIC_REQUIRE_FALSE(Encodable<RecursiveAndBad>);
  STATIC_REQUIRE_FALSE(Encodable<WithBase>);
  STATIC_REQUIRE_FALSE(Encodable<TooMany>);
  STATIC_REQUIRE(Encodable<Recursive>);
  STATIC_REQUIRE(Encodable<shapes::Everything>);
  STATIC_REQUIRE(Encodable<const std::string>);
  STATIC_REQUIRE(Encodable<Either>);
}

TEST_CASE("a codec of the program's own may depend on its parts, or serve a family of types") {
  STATIC_REQUIRE(Encodable<Box<int>>);
  STATIC_REQUIRE(Encodable<std::vector<Box<std::string>>>);
  STATIC_REQUIRE_FALSE(Encodable<Box<int*>>);
  STATIC_REQUIRE(Encodable<Opaque>);
  STATIC_REQUIRE(Encodable<OpaqueBase>);
  cofork::ipc::BufferWriter writer;
  cofork::ipc::encode(writer, Box<std::string>("boxed"));
  Opaque opaque;
  opaque.id = 4;
  cofork::ipc::encode(writer, opaque);
  cofork::ipc::Reader reader(writer.message());
  CHECK(cofork::ipc::decode<Box<std::string>>(reader).value() == "boxed");
  CHECK(cofork::ipc::decode<Opaque>(reader).id == 4);
}

TEST_CASE("views are known as such, wherever they are") {
  STATIC_REQUIRE(is_view_v<std::string_view>);
  STATIC_REQUIRE(is_view_v<std::span<const int>>);
  STATIC_REQUIRE(is_view_v<std::span<const double, 3>>);
  STATIC_REQUIRE(is_view_v<std::vector<std::string_view>>);
  STATIC_REQUIRE(is_view_v<HoldsView>);
  STATIC_REQUIRE(is_view_v<std::pair<int, std::optional<HoldsView>>>);
  STATIC_REQUIRE_FALSE(is_view_v<std::string>);
  STATIC_REQUIRE_FALSE(is_view_v<Recursive>);
}

TEST_CASE("a span must be of const elements that are read where they lie") {
  STATIC_REQUIRE(Encodable<std::span<const std::optional<int>>>);
  STATIC_REQUIRE_FALSE(Encodable<std::span<int>>);
  STATIC_REQUIRE_FALSE(Encodable<std::span<const std::string>>);
  STATIC_REQUIRE_FALSE(Encodable<std::span<const std::string_view>>);
  STATIC_REQUIRE_FALSE(Encodable<std::span<const HoldsPointer>>);
  STATIC_REQUIRE_FALSE(Encodable<std::span<const Pair>>);
}
