#include <cofork/runtime/byte_stream.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::Started;
using support::turns;

namespace {

std::span<std::byte> bytes(std::string& text) { return std::as_writable_bytes(std::span(text)); }

Task<std::string> read_text(ByteStream& stream, std::size_t size) {
  std::string text(size, '\0');
  const std::size_t count = co_await stream.read_some(bytes(text));
  text.resize(count);
  co_return text;
}

Task<std::string> read_all(ByteStream& stream) {
  std::string all;
  std::string part(4096, '\0');
  while (const std::size_t count = co_await stream.read_some(bytes(part))) all.append(part, 0, count);
  co_return all;
}

Task<> write_text(ByteStream& stream, std::string text) { co_await stream.write(text); }
Task<> read_into(ByteStream& stream, std::string& text) { co_await stream.read_exactly(bytes(text)); }

std::string numbered(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 7 % 26);
  return text;
}

}  // namespace

TEST_CASE("read_some gives what has arrived, waits for more, and 0 at the end") {
  for (auto* const make : {&support::socket_pair, &support::pipe_to_stream}) {
    run([&]() -> Task<> {
      auto [stream, peer] = make();
      peer.write("hello");
      const std::string first = co_await read_text(stream, 100);
      CHECK(first == "hello");
      Future<std::string> second = spawn(read_text(stream, 100));
      co_await turns(3);
      CHECK(!second.done());
      peer.write("more");
      const std::string text = co_await std::move(second);
      CHECK(text == "more");
      peer.close();
      for (int i = 0; i < 2; ++i) {
        const std::string last = co_await read_text(stream, 100);
        CHECK(last.empty());
      }
    });
  }
}

TEST_CASE("read_exactly fills its buffer however the bytes come") {
  const std::size_t size = GENERATE(1, 100, 5000, 1000000);
  const std::string text = numbered(size + 10);
  auto [stream, peer] = support::socket_pair();
  std::thread writer([&end = peer, &text] {
    for (std::size_t at = 0; at < text.size(); at += 777) end.write(std::string_view(text).substr(at, 777));
    end.close();
  });
  run([&reader = stream, &text, size]() -> Task<> {
    std::string read(size, '\0');
    co_await read_into(reader, read);
    CHECK(read == text.substr(0, size));
    const std::string rest = co_await read_all(reader);
    CHECK(rest == text.substr(size));
  });
  writer.join();
}

TEST_CASE("at an early end read_exactly and read_until leave what came before") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    peer.write("abc");
    peer.shutdown_write();
    std::string text(5, '\0');
    bool ended = co_await support::throws<EndOfFile>(stream.read_exactly(bytes(text)));
    CHECK(ended);
    ended = co_await support::throws<EndOfFile>(stream.read_until('x'));
    CHECK(ended);
    const std::string rest = co_await read_all(stream);
    CHECK(rest == "abc");
  });
}

TEST_CASE("lines come without their end, the last one may lack it") {
  run([]() -> Task<> {
    auto [stream, peer] = support::pipe_to_stream();
    const std::string longest = numbered(50000);
    peer.write("one\n\nthree\n" + longest + "\nlast");
    peer.close();
    std::vector<std::string> lines;
    while (auto line = co_await stream.read_line()) lines.push_back(std::move(*line));
    const std::vector<std::string> expected = {"one", "", "three", longest, "last"};
    CHECK(lines == expected);
  });
}

TEST_CASE("read_until and the other reads take their bytes from the same place") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    peer.write("key=value;rest");
    std::string text = co_await stream.read_until('=');
    CHECK(text == "key=");
    std::string part(3, '\0');
    co_await stream.read_exactly(bytes(part));
    CHECK(part == "val");
    text = co_await stream.read_until(';');
    CHECK(text == "ue;");
    text = co_await read_text(stream, 100);
    CHECK(text == "rest");
  });
}

TEST_CASE("a limit on a line ends the read, not the stream") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    peer.write("1234567890\n");
    const bool too_long = co_await support::throws<std::length_error>(stream.read_line(10));
    CHECK(too_long);
    const auto line = co_await stream.read_line(11);
    CHECK(line == "1234567890");
  });
}

TEST_CASE("write waits for a slow reader and keeps nothing of its own") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    const std::string text = numbered(4000000);
    const Future<void> writer = spawn(write_text(stream, text));
    for (int i = 0; i < 5; ++i) co_await sleep(1ms);
    CHECK(!writer.done());
    int queued = 0;
    REQUIRE(::ioctl(peer.get(), FIONREAD, &queued) == 0);
    CHECK(static_cast<std::size_t>(queued) < text.size());
    std::string read;
    while (!writer.done()) {
      read += peer.read_what_is_there();
      co_await turns(1);
      co_await sleep(0ms);
    }
    stream.close();
    read += peer.read(text.size());
    CHECK(read == text);
  });
}

TEST_CASE("several buffers are written in order") {
  run([]() -> Task<> {
    for (auto* const make : {&support::socket_pair, &support::pipe_from_stream}) {
      auto [stream, peer] = make();
      const std::vector<std::byte> raw(3, std::byte{'z'});
      co_await stream.write("head ", std::string("body "), raw);
      const std::string text = peer.read(13);
      CHECK(text == "head body zzz");
      std::vector<std::span<const std::byte>> many(3000, std::span<const std::byte>(raw));
      many[7] = {};
      co_await stream.write(many);
      const std::string all = peer.read(2999 * 3);
      CHECK(all == std::string(2999 * 3, 'z'));
    }
  });
}

TEST_CASE("shutdown_write ends the peer's stream, and reading goes on") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    co_await stream.write("bye");
    co_await stream.shutdown_write();
    const std::string text = peer.read(100);
    CHECK(text == "bye");
    peer.write("answer");
    const std::string answer = co_await read_text(stream, 100);
    CHECK(answer == "answer");
    bool refused = co_await support::throws<std::logic_error>(stream.write("x"));
    CHECK(refused);
    refused = co_await support::throws<std::logic_error>(stream.shutdown_write());
    CHECK(refused);
    auto [out, reader] = support::pipe_from_stream();
    co_await out.shutdown_write();
    CHECK(reader.read(1).empty());
  });
}

TEST_CASE("cancelling a read loses no byte") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    std::string text(100000, '\0');
    const std::string sent = numbered(50000);
    {
      Started reader(read_into(stream, text));
      peer.write(sent);
      for (int i = 0; i < 3; ++i) co_await sleep(1ms);
      reader.cancel();
      while (!reader.ended()) co_await turns(1);
    }
    {
      // Destroyed where it waits.
      Started reader(read_into(stream, text));
      co_await turns(2);
      reader.destroy();
    }
    bool late = co_await support::throws<TimeoutError>(wait_for(stream.read_until('!'), 0ns));
    CHECK(late);
    peer.close();
    const std::string all = co_await read_all(stream);
    CHECK(all == sent);
  });
}

TEST_CASE("a read with a time limit of nothing finds what has arrived meanwhile") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    std::string text(10, '\0');
    for (int round = 0; round < 3; ++round) {
      bool late = co_await support::throws<TimeoutError>(wait_for(stream.read_some(bytes(text)), 0ns));
      CHECK(late);
      peer.write("x");
      const std::size_t count = co_await wait_for(stream.read_some(bytes(text)), 0ns);
      CHECK(count == 1);
    }
  });
}

TEST_CASE("a write that is cancelled in the middle breaks the stream for writing, one that never began does not") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    const std::string much = numbered(4000000);
    bool late = co_await support::throws<TimeoutError>(wait_for(stream.write(much), 1ms));
    CHECK(late);
    const int error = co_await support::error_of(stream.write("x"));
    CHECK(error == EPIPE);
    peer.write("still there");
    const std::string text = co_await read_text(stream, 100);
    CHECK(text == "still there");

    auto [full, reader] = support::pipe_from_stream();
    const std::string filling(static_cast<std::size_t>(::fcntl(full.native_handle(), F_GETPIPE_SZ)), 'x');
    co_await full.write(filling);
    late = co_await support::throws<TimeoutError>(wait_for(full.write("y"), 1ms));
    CHECK(late);
    CHECK(reader.read(filling.size()) == filling);
    co_await full.write("z");
    CHECK(reader.read(1) == "z");
  });
}

TEST_CASE("two readers or two writers at once, and use after close, are logic errors") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    const std::string much = numbered(4000000);
    Future<std::string> reader = spawn(read_text(stream, 10));
    Future<void> writer = spawn(write_text(stream, much));
    co_await turns(2);
    bool refused = co_await support::throws<std::logic_error>(stream.read_line());
    CHECK(refused);
    refused = co_await support::throws<std::logic_error>(stream.write("x"));
    CHECK(refused);
    refused = co_await support::throws<std::logic_error>(stream.shutdown_write());
    CHECK(refused);
    CHECK_THROWS_AS(stream.release(), std::logic_error);

    auto later = stream.read_line();
    stream.close();
    int error = co_await support::error_of(std::move(reader));
    CHECK(error == ECANCELED);
    error = co_await support::error_of(std::move(writer));
    CHECK(error == ECANCELED);
    refused = co_await support::throws<std::logic_error>(std::move(later));
    CHECK(refused);
    CHECK(stream.closed());
    CHECK_THROWS_AS(stream.read_line(), std::logic_error);
    CHECK_THROWS_AS(stream.write("x"), std::logic_error);
    CHECK_THROWS_AS(stream.native_handle(), std::logic_error);
    stream.close();
  });
}

TEST_CASE("a reader that is gone is an error with the peer's name, and no signal") {
  run([]() -> Task<> {
    for (auto* const make : {&support::socket_pair, &support::pipe_from_stream}) {
      auto [stream, peer] = make();
      peer.close();
      std::string what;
      try {
        co_await stream.write("x");
      } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::broken_pipe);
        what = error.what();
      }
      CHECK(what == "write to descriptor " + std::to_string(stream.native_handle()) + ": Broken pipe");
    }
  });
}

TEST_CASE("a stream outlives its loop and can be used on the next one") {
  auto [stream, peer] = support::socket_pair();
  for (int round = 0; round < 3; ++round) {
    run([&reader = stream, &writer = peer]() -> Task<> {
      Future<std::string> text = spawn(read_text(reader, 10));
      co_await turns(2);
      writer.write("again");
      const std::string read = co_await std::move(text);
      CHECK(read == "again");
    });
  }
  const int descriptor = stream.release();
  CHECK(stream.closed());
  CHECK(::close(descriptor) == 0);
}

TEST_CASE("a coroutine that always finds something to read or write does not starve the others") {
  run([]() -> Task<> {
    auto [source, feeder] = support::socket_pair();
    auto [sink, drain] = support::socket_pair();
    feeder.write(numbered(100000));
    const auto read_single = [](ByteStream& stream) -> Task<> {
      std::array<std::byte, 1> one;
      for (int i = 0; i < 100000; ++i) co_await stream.read_some(one);
    };
    const Future<void> reader = spawn(read_single(source));
    int rounds = 0;
    while (!reader.done()) {
      co_await yield_now();
      ++rounds;
    }
    CHECK(rounds > 1000);
  });
}

TEST_CASE("a regular file and a closed descriptor") {
  run([]() -> Task<> {
    std::FILE* const file = std::tmpfile();
    REQUIRE(file);
    {
      ByteStream stream = ByteStream::adopt(::dup(::fileno(file)));
      co_await stream.write("first\nsecond\n");
      REQUIRE(::lseek(stream.native_handle(), 0, SEEK_SET) == 0);
      int lines = 0;
      while (auto line = co_await stream.read_line()) ++lines;
      CHECK(lines == 2);
    }
    CHECK(std::fclose(file) == 0);
    CHECK_THROWS_AS(ByteStream::adopt(-1), std::system_error);
  });
}
