#include <cofork/ipc/codec.hpp>
#include <cofork/runtime/errors.hpp>
#include <memory_resource>
#include <numeric>
#include <stdexcept>

#include "ipc/codec_shapes.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace cofork::ipc;

namespace {

template <class T>
T round_trip(const T& value) {
  BufferWriter writer;
  encode(writer, value);
  Reader reader(writer.message());
  T copy = decode<T>(reader);
  reader.finish();
  return copy;
}

struct Animal {
  virtual ~Animal() = default;
  template <class Archive>
  void serialize(Archive&) {}
};
struct Dog : Animal {};

struct Savings : shapes::Account {
  using Account::Account;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(static_cast<shapes::Account&>(*this), numbers, words);
  }
  int numbers[3] = {};
  std::string words[2];
};

}  // namespace

TEST_CASE("values of different types follow each other in one message") {
  BufferWriter writer;
  encode(writer, 'x');
  encode(writer, std::vector<double>{1, 2});
  encode(writer, shapes::Empty());
  encode(writer, std::string("text"));
  encode(writer, std::vector<std::int16_t>{3});
  Reader reader(writer.message());
  CHECK(decode<char>(reader) == 'x');
  CHECK(decode<std::vector<double>>(reader) == std::vector<double>{1, 2});
  CHECK(decode<shapes::Empty>(reader) == shapes::Empty());
  CHECK(decode<std::string>(reader) == "text");
  CHECK(decode<std::vector<std::int16_t>>(reader) == std::vector<std::int16_t>{3});
  reader.finish();
}

TEST_CASE("plain data is as large as itself and its length") {
  BufferWriter writer;
  encode(writer, std::vector<double>(1000, 1.5));
  CHECK(writer.size() == 8 + 8000);
  writer.clear();
  encode(writer, std::string("four"));
  CHECK(writer.size() == 5);
  writer.clear();
  encode(writer, shapes::Padded{1, 2});
  CHECK(writer.size() == 9);
}

TEST_CASE("lengths on either side of each of their encodings survive") {
  for (const std::size_t n : {0, 1, 253, 254, 255, 256, 65535, 65536, 100000}) {
    CHECK(round_trip(std::string(n, 'n')) == std::string(n, 'n'));
  }
  BufferWriter writer;
  writer.size(std::size_t{1} << 40);
  Reader reader(writer.message());
  CHECK(reader.size(0) == std::size_t{1} << 40);
}

TEST_CASE("an over-aligned type arrives") {
  struct alignas(128) Wide {
    std::int64_t number;
    char rest[120];
  };
  std::vector<Wide> wide(3, Wide{7, {}});
  CHECK(round_trip(wide).at(2).number == 7);
}

TEST_CASE("a message that lies at an odd address is read all the same") {
  BufferWriter writer;
  encode(writer, std::vector<double>{1, 2});
  std::vector<std::byte> odd(writer.size() + 1);
  std::copy(writer.message().begin(), writer.message().end(), odd.begin() + 1);
  Reader reader{std::span<const std::byte>(odd).subspan(1)};
  CHECK(decode<std::vector<double>>(reader) == std::vector<double>{1, 2});
}

TEST_CASE("an aggregate may have const members, arrays of arrays and members without a default constructor") {
  struct Odd {
    const int number;
    shapes::Matrix matrix;
    shapes::Matrix other = shapes::Matrix(1, {1});
    const std::string text = "default";
  };
  const Odd odd = round_trip(Odd{4, {2, {1, 2}}, {3, {}}, "given"});
  CHECK(odd.number == 4);
  CHECK(odd.matrix == shapes::Matrix(2, {1, 2}));
  CHECK(odd.other.columns() == 3);
  CHECK(odd.text == "given");
}

TEST_CASE("an aggregate may have thirty-two fields") {
  struct Wide {
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z;
    std::string aa, bb, cc, dd, ee;
    bool last;
  };
  Wide wide{};
  wide.z = 26;
  wide.ee = "ee";
  wide.last = true;
  const Wide copy = round_trip(wide);
  CHECK(copy.z == 26);
  CHECK(copy.ee == "ee");
  CHECK(copy.last);
}

TEST_CASE("pointers are null or own a value of their own") {
  CHECK(round_trip(std::unique_ptr<int>()) == nullptr);
  CHECK(*round_trip(std::make_unique<int>(3)) == 3);
  const auto shared = std::make_shared<int>(4);
  const auto copies = round_trip(std::pair(shared, shared));
  CHECK(*copies.first == 4);
  CHECK(copies.first != copies.second);
}

TEST_CASE("a pointer to a base class is refused when it would be cut to that") {
  BufferWriter writer;
  CHECK_NOTHROW(encode(writer, std::make_unique<Animal>()));
  CHECK_THROWS_AS(encode(writer, std::unique_ptr<Animal>(new Dog)), std::invalid_argument);
}

TEST_CASE("a container with an allocator or an order of its own arrives") {
  const std::set<int, std::greater<>> down{1, 2, 3};
  CHECK(round_trip(down) == down);
  const std::pmr::vector<std::pmr::string> words{"a", "b"};
  CHECK(round_trip(words) == words);
}

TEST_CASE("serialize can be called on an object that is const") {
  const shapes::Account account("me", 5);
  CHECK(round_trip(account) == account);
}

TEST_CASE("serialize can name its base class and its arrays") {
  Savings derived("me", 6);
  derived.numbers[2] = 7;
  derived.words[1] = "w";
  const Savings copy = round_trip(derived);
  CHECK(copy == derived);
  CHECK(copy.numbers[2] == 7);
  CHECK(copy.words[1] == "w");
}

TEST_CASE("a million elements arrive") {
  std::vector<int> numbers(1'000'000);
  std::iota(numbers.begin(), numbers.end(), 0);
  CHECK(round_trip(numbers) == numbers);
  const std::vector<std::string> words(100'000, "word");
  CHECK(round_trip(words) == words);
}

TEST_CASE("a writer is used again for the next message, in the same memory") {
  BufferWriter writer(1000);
  encode(writer, std::string(900, 'a'));
  const std::byte* const memory = writer.data();
  writer.clear();
  CHECK(writer.size() == 0);
  encode(writer, 5);
  CHECK(writer.data() == memory);
  CHECK(writer.size() == sizeof(int));
}

TEST_CASE("a writer grows once after being told how much is coming") {
  BufferWriter writer;
  writer.value(1);
  writer.reserve(100'000);
  const std::byte* const memory = writer.data();
  for (int i = 0; i != 25'000; ++i) writer.value(i);
  CHECK(writer.data() == memory);
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % message_alignment == 0);
}
