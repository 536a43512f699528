#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <array>
#include <cofork/ipc/descriptor_passing.hpp>
#include <stdexcept>
#include <string>
#include <system_error>

#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork::ipc;

namespace {

struct Sockets {
  Descriptor left, right;

  Sockets() {
    std::array<int, 2> ends;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) throw std::runtime_error("socketpair");
    left.reset(ends[0]);
    right.reset(ends[1]);
  }
};

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

struct Message {
  Transfer transfer;
  std::string text;
  ReceivedDescriptors received;
};

Message receive(const Descriptor& socket, std::size_t room = 100) {
  Message message;
  message.text.resize(room);
  message.transfer =
      receive_with_descriptors(socket.get(), std::as_writable_bytes(std::span(message.text)), message.received);
  message.text.resize(message.transfer.bytes);
  return message;
}

ino_t inode_of(int descriptor) {
  struct stat status = {};
  return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

}  // namespace

TEST_CASE("descriptors arrive beside their message, in order and close-on-exec") {
  Sockets sockets, others;
  const std::array sent = {others.right.get(), others.left.get(), others.right.get()};
  REQUIRE(send_with_descriptors(sockets.left.get(), bytes_of("hello"), sent));
  const Message message = receive(sockets.right);
  REQUIRE(message.transfer);
  CHECK(message.text == "hello");
  CHECK_FALSE(message.received.lost);
  REQUIRE(message.received.descriptors.size() == sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const int arrived = message.received.descriptors[i].get();
    CHECK(arrived != sent[i]);
    CHECK(inode_of(arrived) == inode_of(sent[i]));
    CHECK((fcntl(arrived, F_GETFD) & FD_CLOEXEC) != 0);
  }
}

TEST_CASE("a message without descriptors arrives without") {
  Sockets sockets;
  REQUIRE(send_with_descriptors(sockets.left.get(), bytes_of("x"), {}));
  const Message message = receive(sockets.right);
  CHECK(message.text == "x");
  CHECK(message.received.descriptors.empty());
}

TEST_CASE("as many descriptors as the kernel takes arrive, and one more is refused") {
  Sockets sockets;
  const std::vector<int> many(max_descriptors_per_message, sockets.left.get());
  REQUIRE(send_with_descriptors(sockets.left.get(), bytes_of("x"), many));
  CHECK(receive(sockets.right).received.descriptors.size() == max_descriptors_per_message);
  const std::vector<int> too_many(max_descriptors_per_message + 1, sockets.left.get());
  CHECK_THROWS_AS(send_with_descriptors(sockets.left.get(), bytes_of("x"), too_many), std::invalid_argument);
}

TEST_CASE("neither sending nor receiving blocks") {
  Sockets sockets;
  CHECK(receive(sockets.right).transfer.outcome == Transfer::Outcome::would_block);
  const std::string block(10'000, 'x');
  Transfer sent = {};
  do {
    sent = send_with_descriptors(sockets.left.get(), bytes_of(block), {});
  } while (sent);
  CHECK(sent.outcome == Transfer::Outcome::would_block);
}

TEST_CASE("a closed other end is told, after what it had sent") {
  Sockets sockets;
  REQUIRE(send_with_descriptors(sockets.right.get(), bytes_of("unread"), {}));
  REQUIRE(send_with_descriptors(sockets.left.get(), bytes_of("last"), {}));
  sockets.left.reset();
  CHECK(receive(sockets.right).text == "last");
  CHECK(receive(sockets.right).transfer.outcome == Transfer::Outcome::closed);
  CHECK(send_with_descriptors(sockets.right.get(), bytes_of("x"), {}).outcome == Transfer::Outcome::closed);
}

TEST_CASE("a message longer than the buffer is an error and its descriptors are closed") {
  Sockets sockets;
  REQUIRE(send_with_descriptors(sockets.left.get(), bytes_of("too long"), std::array{sockets.left.get()}));
  CHECK_THROWS_AS(receive(sockets.right, 3), std::system_error);
}

TEST_CASE("other errors name the operation") {
  CHECK_THROWS_WITH(send_with_descriptors(-1, bytes_of("x"), {}), Catch::Matchers::Contains("sendmsg"));
  ReceivedDescriptors received;
  std::array<std::byte, 1> buffer;
  CHECK_THROWS_AS(receive_with_descriptors(-1, buffer, received), std::system_error);
}

TEST_CASE("descriptors for which there is no room are told as lost") {
  const auto outcome = support::in_child([] {
    Sockets sockets;
    support::require(bool(send_with_descriptors(sockets.left.get(), bytes_of("x"), std::vector<int>(5, 0))), "sent");
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = static_cast<rlim_t>(sockets.right.get()) + 3;
    setrlimit(RLIMIT_NOFILE, &limit);
    const Message message = receive(sockets.right);
    support::require(message.received.lost && message.received.descriptors.size() < 5, "lost");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}
