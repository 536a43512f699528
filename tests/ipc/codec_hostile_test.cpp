#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cofork/ipc/codec.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <limits>
#include <memory_resource>
#include <new>
#include <stdexcept>

#include "ipc/codec_message.hpp"
#include "ipc/codec_shapes.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace cofork::ipc;
using support::decodes;
using support::Message;

namespace {

struct Chain {
  std::unique_ptr<Chain> next;
};

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// A length of nine bytes and a few more.
std::vector<std::byte> with_length(std::uint64_t n) {
  BufferWriter writer;
  writer.value(std::uint8_t{255});
  writer.value(n);
  writer.value(std::uint64_t{0});
  return {writer.message().begin(), writer.message().end()};
}

class CountingMemory : public std::pmr::memory_resource {
 public:
  std::size_t largest = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    largest = std::max(largest, bytes);
    return ::operator new (bytes, std::align_val_t{alignment});
  }
  void do_deallocate(void* memory, std::size_t, std::size_t alignment) override {
    ::operator delete (memory, std::align_val_t{alignment});
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace

TEST_CASE("a length that cannot be true is a DecodeError, before anything is allocated") {
  using shapes::Empty;
  for (const std::uint64_t n :
       {std::uint64_t{9}, std::uint64_t{1} << 32, std::uint64_t{1} << 60, std::numeric_limits<std::uint64_t>::max()}) {
    const auto bytes = with_length(n);
    INFO(n);
    CHECK_FALSE(decodes<std::string>(bytes));
    CHECK_FALSE(decodes<std::u32string>(bytes));
    CHECK_FALSE(decodes<std::vector<double>>(bytes));
    CHECK_FALSE(decodes<std::vector<std::string>>(bytes));
    CHECK_FALSE(decodes<std::vector<Empty>>(bytes));
    CHECK_FALSE(decodes<std::vector<bool>>(bytes));
    CHECK_FALSE(decodes<std::deque<int>>(bytes));
    CHECK_FALSE(decodes<std::forward_list<int>>(bytes));
    CHECK_FALSE(decodes<std::map<int, int>>(bytes));
    CHECK_FALSE(decodes<std::unordered_set<char>>(bytes));
    CHECK_FALSE(decodes<std::string_view>(bytes));
    CHECK_FALSE(decodes<std::span<const double>>(bytes));
  }
}

TEST_CASE("what is allocated ahead is in proportion to the message") {
  using Large = std::variant<std::monostate, std::array<char, 10'000>>;
  CountingMemory memory;
  std::pmr::memory_resource* const before = std::pmr::set_default_resource(&memory);
  std::vector<std::byte> bytes(1001, std::byte{1});
  bytes[0] = std::byte{254};
  const std::uint32_t n = 996;
  std::memcpy(bytes.data() + 1, &n, sizeof n);
  CHECK_FALSE(decodes<std::pmr::vector<Large>>(bytes));
  CHECK_FALSE(
      decodes<std::pmr::unordered_set<std::array<std::uint8_t, 900>, decltype([](const auto&) { return 1u; })>>(bytes));
  std::pmr::set_default_resource(before);
  CHECK(memory.largest < 50'000);
}

TEST_CASE("values that a type does not have are a DecodeError") {
  CHECK(decodes<bool>(bytes_of({1})));
  CHECK_FALSE(decodes<bool>(bytes_of({2})));
  CHECK_FALSE(decodes<shapes::Switch>(bytes_of({2})));
  CHECK_FALSE(decodes<std::optional<char>>(bytes_of({2, 'a'})));
  CHECK_FALSE(decodes<std::unique_ptr<char>>(bytes_of({255, 'a'})));
  CHECK_FALSE(decodes<std::variant<char, bool>>(bytes_of({2, 0})));
  CHECK_FALSE(decodes<std::array<bool, 2>>(bytes_of({0, 3})));
  CHECK_FALSE(decodes<std::vector<bool>>(bytes_of({9, 0})));
  struct Flagged {
    char letter;
    bool flag;
  };
  CHECK(decodes<std::vector<Flagged>>(bytes_of({1, 'a', 1})));
  CHECK_FALSE(decodes<std::vector<Flagged>>(bytes_of({1, 'a', 9})));
}

TEST_CASE("keys in disorder, or twice, make a map that is in order") {
  const Message message(bytes_of({3, 9, 'a', 5, 'b', 9, 'c'}));
  Reader reader(message.bytes());
  const auto map = decode<std::map<char, char>>(reader);
  CHECK(map == std::map<char, char>{{5, 'b'}, {9, 'a'}});
}

TEST_CASE("a thousand levels are decoded and one more is refused on both sides") {
  const auto chain_of = [](unsigned levels) {
    Chain chain;
    for (unsigned i = 0; i != levels; ++i) chain = Chain{std::make_unique<Chain>(std::move(chain))};
    return chain;
  };
  BufferWriter writer;
  encode(writer, chain_of(max_nesting));
  CHECK(decodes<Chain>(writer.message()));
  CHECK_THROWS_AS(encode(writer, chain_of(max_nesting + 1)), std::length_error);

  std::vector<std::byte> bytes(max_nesting + 1, std::byte{1});
  bytes.push_back(std::byte{0});
  CHECK_FALSE(decodes<Chain>(bytes));
  bytes.assign(1'000'000, std::byte{1});
  CHECK_FALSE(decodes<Chain>(bytes));
  bytes.assign(1'000'000, std::byte{4});
  CHECK_FALSE(decodes<shapes::Json>(bytes));
  struct Nest {
    std::vector<Nest> inner;
  };
  bytes.assign(1'000'000, std::byte{1});
  CHECK_FALSE(decodes<Nest>(bytes));
}

TEST_CASE("a cycle of shared pointers is refused") {
  struct Loop {
    std::shared_ptr<Loop> next;
  };
  const auto loop = std::make_shared<Loop>();
  loop->next = loop;
  BufferWriter writer;
  CHECK_THROWS_AS(encode(writer, loop), std::length_error);
  loop->next.reset();
}

TEST_CASE("a message that another process keeps changing is a value or a DecodeError") {
  using Value = std::vector<std::variant<std::string, std::vector<int>, std::map<int, std::string>>>;
  const Value value{"a string", std::vector<int>(9, 9), std::map<int, std::string>{{1, "one"}, {2, "two"}}};
  BufferWriter writer;
  encode(writer, value);
  const std::size_t n = writer.size();
  auto* const shared =
      static_cast<std::byte*>(mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(shared != MAP_FAILED);
  std::copy(writer.message().begin(), writer.message().end(), shared);
  const pid_t scribbler = fork();
  REQUIRE(scribbler >= 0);
  if (scribbler == 0) {
    volatile std::byte* const bytes = shared;
    for (std::uint32_t random = 1;; random = random * 1664525 + 1013904223) {
      const std::size_t at = (random >> 8) % n;
      bytes[at] = static_cast<std::byte>(random >> 24);
      bytes[at] = writer.data()[at];
    }
  }
  std::size_t decoded = 0;
  for (int i = 0; i != 20'000; ++i) {
    try {
      Reader reader({shared, n});
      (void)decode<Value>(reader);
      ++decoded;
    } catch (const DecodeError&) {
    }
  }
  CHECK(kill(scribbler, SIGKILL) == 0);
  CHECK(waitpid(scribbler, nullptr, 0) == scribbler);
  CHECK(munmap(shared, n) == 0);
  CHECK(decoded <= 20'000);
}
