// Peers that send what no connection sends.
#include <sys/mman.h>

#include <chrono>
#include <cofork/ipc/connection.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/pipe.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <string>
#include <vector>

#include "ipc/connection_harness.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace connection_test;
using detail::MessageHeader;

namespace {

using Peer = HostilePeer<std::string>;

/// An encoded string.
std::string body_of(const std::string& text) {
  ipc::BufferWriter writer;
  ipc::encode(writer, text);
  return std::string(reinterpret_cast<const char*>(writer.data()), writer.size());
}

void send_good(const Peer& peer, const std::string& text) {
  const std::string body = body_of(text);
  peer.send(frame(header_of(body.size()), body));
}

ipc::MemoryFile file_of(const std::string& bytes, bool sealed, std::size_t file_size) {
  constexpr std::size_t front = detail::MessageFile::front;
  ipc::MemoryFile file = ipc::MemoryFile::create("test", front + file_size);
  const ipc::Mapping mapping(file.descriptor(), front + file_size);
  std::copy_n(std::as_bytes(std::span(bytes)).data(), bytes.size(), mapping.data() + front);
  if (sealed) file.seal_shrink();
  return file;
}

MessageHeader file_header(std::size_t size) {
  MessageHeader header = header_of(size, 1);
  header.kind = MessageHeader::in_file;
  return header;
}

}  // namespace

TEST_CASE("packets that are no messages are DecodeErrors, and the next message arrives") {
  const Peer peer = Peer::of_packets();
  const auto body = body_of("hello");
  MessageHeader wrong_magic = header_of(body.size());
  wrong_magic.magic ^= 1;
  MessageHeader wrong_kind = header_of(body.size());
  wrong_kind.kind = 77;
  const std::vector<std::string> bad = {
      "x",
      std::string(15, 'x'),
      std::string(1000, 'x'),
      frame(wrong_magic, body),
      frame(wrong_kind, body),
      frame(header_of(body.size() + 1), body),
      frame(header_of(body.size() - 1), body),
      frame(header_of(~std::uint64_t{0}), body),
      frame(header_of(body.size(), 3), body),
      frame(header_of(body.size(), 60000), body),
      frame(header_of(0)),
      frame(header_of(3), "\xff\xff\xff"),
      frame(file_header(10)),
      frame(header_of(body.size() + 1), body + "x"),
  };
  for (const std::string& packet : bad) {
    peer.send(packet);
    CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
    send_good(peer, "good");
    CHECK(peer.connection.blocking_recv() == "good");
  }
}

TEST_CASE("a packet longer than any message's is a DecodeError") {
  const Peer peer = Peer::of_packets();
  const int size = 4 << 20;
  REQUIRE(::setsockopt(peer.socket.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
  peer.send(frame(header_of(300000), std::string(300000, 'x')));
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  send_good(peer, "good");
  CHECK(peer.connection.blocking_recv() == "good");
}

TEST_CASE("descriptors that a message does not speak of are closed") {
  const Peer peer = Peer::of_packets();
  const auto body = body_of("hello");
  peer.send(frame(header_of(body.size()), body), {0, 0, 0});
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  // Announced, but nothing in the message takes them: its own affair. The harness looks for leaks.
  peer.send(frame(header_of(body.size(), 2), body), {0, 0});
  CHECK(peer.connection.blocking_recv() == "hello");
}

TEST_CASE("only a file that cannot shrink, and is as long as it says, is read") {
  const Peer peer = Peer::of_packets();
  const std::string body = body_of(std::string(5000, 'f'));
  const auto send_file = [&](const ipc::MemoryFile& file, std::size_t size) {
    peer.send(frame(file_header(size)), {file.descriptor()});
  };
  send_file(file_of(body, false, 8192), body.size());
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  send_file(file_of(body, true, 8192), 8193);
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  send_file(file_of(body, true, 8192), ~std::size_t{0});
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  // A terabyte of holes.
  send_file(file_of(body, true, 8192), 8192 - 1);
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  ipc::MemoryFile holes = ipc::MemoryFile::create("test", std::size_t{1} << 40);
  holes.seal_shrink();
  send_file(holes, (std::size_t{1} << 40) - detail::MessageFile::front);
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  // Something else than a file.
  peer.send(frame(file_header(10)), {peer.socket.get()});
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  peer.send(frame(file_header(10)), {0});
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  send_file(file_of(body, true, 8192), body.size());
  CHECK(peer.connection.blocking_recv() == std::string(5000, 'f'));
}

TEST_CASE("a peer cannot shrink a file while it is read") {
  const Peer peer = Peer::of_packets();
  const std::string body = body_of(std::string(5000, 'f'));
  const ipc::MemoryFile file = file_of(body, true, 8192);
  peer.send(frame(file_header(body.size())), {file.descriptor()});
  CHECK(::ftruncate(file.descriptor(), 0) < 0);
  CHECK(peer.connection.blocking_recv().size() == 5000);
}

TEST_CASE("a stream of garbage ends the connection, and says so again and again") {
  const auto body = body_of("hello");
  MessageHeader wrong_magic = header_of(body.size());
  wrong_magic.magic ^= 1;
  const std::vector<std::string> bad = {
      std::string(100, 'x'),
      frame(wrong_magic, body),
      frame(header_of(~std::uint64_t{0}), body),
      frame(file_header(10)),
      frame(header_of(body.size(), 3), body),
  };
  for (const std::string& bytes : bad) {
    const Peer peer = Peer::of_stream();
    send_good(peer, "good");
    peer.send(bytes);
    CHECK(peer.connection.blocking_recv() == "good");
    CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
    CHECK(peer.connection.blocking_poll());
    CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
    char byte = 0;
    // The peer is told.
    CHECK(::send(peer.socket.get(), &byte, 1, MSG_NOSIGNAL) < 0);
  }
}

TEST_CASE("a stream message of the wrong contents is a DecodeError, and the next one arrives") {
  const Peer peer = Peer::of_stream();
  peer.send(frame(header_of(3), "\xff\xff\xff"));
  send_good(peer, "good");
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  CHECK(peer.connection.blocking_recv() == "good");
}

TEST_CASE("a stream that stops in the middle of a message is a DecodeError") {
  const std::string whole = frame(header_of(body_of("hello").size()), body_of("hello"));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    Peer peer = Peer::of_stream();
    peer.send(whole.substr(0, size));
    CHECK(peer.connection.blocking_poll());
    peer.socket.reset();
    CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  }
}

TEST_CASE("a stream message may come in any pieces, and a cancelled recv keeps them") {
  for (const std::size_t piece : {1U, 7U, 16U, 17U, 5000U, 100000U}) {
    const Peer peer = Peer::of_stream();
    const std::string text(30 * piece, 's');
    const std::string body = body_of(text);
    const std::string sent = frame(header_of(body.size()), body);
    const auto main = [peer_ = &peer, sent_ = &sent, piece]() -> Task<std::string> {
      for (std::size_t at = 0; at + piece < sent_->size(); at += piece) {
        std::string part = sent_->substr(at, piece);
        peer_->send(part);
        auto receiving = peer_->connection.recv();
        try {
          co_await wait_for(std::move(receiving), std::chrono::nanoseconds(0));
          co_return "too early";
        } catch (const TimeoutError&) {
        }
      }
      std::string rest = sent_->substr((sent_->size() - 1) / piece * piece);
      peer_->send(rest);
      co_return co_await peer_->connection.recv();
    };
    CHECK(run(main) == text);
  }
}

TEST_CASE("a length that is announced takes no memory until it arrives") {
  Peer peer = Peer::of_stream();
  // More than there is.
  peer.send(frame(header_of(std::size_t{1} << 60), std::string(1000, 'x')));
  CHECK(peer.connection.blocking_poll());
  const auto main = [peer_ = &peer]() -> Task<bool> {
    auto receiving = peer_->connection.recv();
    try {
      co_await wait_for(std::move(receiving), std::chrono::milliseconds(5));
    } catch (const TimeoutError&) {
      co_return true;
    }
    co_return false;
  };
  CHECK(run(main));
  peer.socket.reset();
  CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
}

TEST_CASE("connections made of foreign descriptors are DecodeErrors") {
  const auto peer = HostilePeer<ipc::Connection<int>>::of_packets();
  const Sockets packets(SOCK_SEQPACKET), stream(SOCK_STREAM);
  auto [line, other_line] = detail::EndLine::create();
  const ipc::MemoryFile file = ipc::MemoryFile::create("test", 1);
  const auto is_refused = [&](std::vector<std::uint8_t> bytes, std::vector<int> descriptors) {
    const std::string body(bytes.begin(), bytes.end());
    peer.send(frame(header_of(body.size(), static_cast<std::uint16_t>(descriptors.size())), body), descriptors);
    CHECK_THROWS_AS(peer.connection.blocking_recv(), DecodeError);
  };
  const int socket = packets.left.get();
  is_refused({0, 7}, {});
  is_refused({0, 7}, {socket});
  is_refused({0, 7}, {file.descriptor(), line.watch_descriptor()});
  is_refused({0, 7}, {stream.left.get(), line.watch_descriptor()});
  is_refused({1, 3}, {socket});
  is_refused({2, 3}, {stream.left.get()});
  is_refused({99, 3}, {socket});
  is_refused({0, 7}, {socket, file.descriptor()});
  is_refused({0, 7}, {socket, other_line.watch_descriptor()});
  is_refused({0, 15}, {socket, line.watch_descriptor()});
  is_refused({0, 7}, {socket, socket});
}
