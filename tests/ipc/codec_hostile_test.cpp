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

#include "ipc/codec_shapes.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace cofork::ipc;

namespace {

/// A message in memory of exactly its size, so that the sanitizer sees every byte read beyond it.
class Message {
 public:
  explicit Message(std::span<const std::byte> bytes)
      : size_(bytes.size()),
        memory_(static_cast<std::byte*>(::operator new (size_, std::align_val_t{message_alignment}))) {
    std::copy(bytes.begin(), bytes.end(), memory_);
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { ::operator delete (memory_, std::align_val_t{message_alignment}); }
  std::span<const std::byte> bytes() const { return {memory_, size_}; }

 private:
  std::size_t size_;
  std::byte* memory_;
};

template <class T>
void decode_all(std::span<const std::byte> bytes) {
  const Message message(bytes);
  Reader reader(message.bytes());
  (void)decode<T>(reader);
  reader.finish();
}

/// Whether the bytes are a T; anything but a `DecodeError` otherwise fails the test.
template <class T>
bool decodes(std::span<const std::byte> bytes) {
  try {
    decode_all<T>(bytes);
    return true;
  } catch (const DecodeError&) {
    return false;
  }
}

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

TEST_CASE("a message cut short anywhere is a DecodeError") {
  shapes::for_each([]<class T>(const T& value) {
    BufferWriter writer;
    encode(writer, value);
    INFO(typeid(T).name());
    for (std::size_t n = 0; n != writer.size(); ++n) {
      INFO(n << " of " << writer.size());
      CHECK_FALSE(decodes<T>(writer.message().first(n)));
    }
  });
}

TEST_CASE("bytes after the end of a message are a DecodeError") {
  shapes::for_each([]<class T>(const T& value) {
    BufferWriter writer;
    encode(writer, value);
    writer.value('x');
    INFO(typeid(T).name());
    CHECK_FALSE(decodes<T>(writer.message()));
  });
}

TEST_CASE("a message with one byte changed is another value or a DecodeError") {
  shapes::for_each([]<class T>(const T& value) {
    BufferWriter writer;
    encode(writer, value);
    std::vector<std::byte> bytes(writer.message().begin(), writer.message().end());
    std::size_t decoded = 0;
    for (auto& byte : bytes) {
      const std::byte kept = byte;
      for (const int change : {0x01, 0x02, 0x80, 0x7f, 0xff}) {
        byte = kept ^ static_cast<std::byte>(change);
        decoded += decodes<T>(bytes);
      }
      for (const int replacement : {0, 1, 2, 253, 254, 255}) {
        byte = static_cast<std::byte>(replacement);
        decoded += decodes<T>(bytes);
      }
      byte = kept;
    }
    CHECK(decoded <= 11 * bytes.size());
  });
}

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
