#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/udp_socket.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <stdexcept>
#include <string>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

namespace {
Task<> send(UdpSocket& socket, std::string text, std::string host, std::uint16_t port) {
  co_await socket.send_to(text, std::move(host), port);
}
Task<> receive(UdpSocket& socket) { static_cast<void>(co_await socket.recv_from()); }
}  // namespace

TEST_CASE("datagrams come whole, with who sent them") {
  run([]() -> Task<> {
    UdpSocket socket = UdpSocket::bind("127.0.0.1", 0);
    const support::Peer peer(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = support::loopback(socket.port());
    REQUIRE(::connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    peer.write("one");
    REQUIRE(::send(peer.get(), "", 0, 0) == 0);
    const std::string longest(60000, 'x');
    peer.write(longest);
    const Datagram first = co_await socket.recv_from();
    CHECK(first.data == "one");
    CHECK(first.host == "127.0.0.1");
    const Datagram second = co_await socket.recv_from();
    CHECK(second.data.empty());
    const Datagram third = co_await socket.recv_from();
    CHECK(third.data == longest);

    co_await socket.send_to("answer", first.host, first.port);
    CHECK(peer.read(6) == "answer");
    co_await socket.send_to("by name", "localhost", first.port);
    CHECK(peer.read(7) == "by name");
  });
}

TEST_CASE("a datagram that is too long, or for another family, is an error") {
  run([]() -> Task<> {
    UdpSocket socket = UdpSocket::bind("127.0.0.1", 0);
    auto too_long = send(socket, std::string(70000, 'x'), "127.0.0.1", 9);
    int error = co_await support::error_of_task(std::move(too_long));
    CHECK(error == EMSGSIZE);
    auto other = send(socket, "x", "::1", 9);
    error = co_await support::error_of_task(std::move(other));
    CHECK(error == EAFNOSUPPORT);
  });
}

TEST_CASE("a socket can be made of a descriptor of a datagram socket only") {
  UdpSocket socket = UdpSocket::adopt(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  CHECK_FALSE(socket.closed());
  CHECK_THROWS_AS(UdpSocket::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), std::invalid_argument);
  CHECK_THROWS_AS(UdpSocket::adopt(::dup(0)), std::system_error);
  CHECK_THROWS_AS(UdpSocket::adopt(-1), std::system_error);
}

TEST_CASE("a cancelled receive loses no datagram, and closing ends one") {
  run([]() -> Task<> {
    UdpSocket socket = UdpSocket::bind("127.0.0.1", 0);
    const bool late = co_await support::throws<TimeoutError>(wait_for(receive(socket), 1ms));
    CHECK(late);
    co_await send(socket, "self", "127.0.0.1", socket.port());
    const Datagram datagram = co_await socket.recv_from();
    CHECK(datagram.data == "self");
    Future<void> waiting = spawn(receive(socket));
    co_await turns(2);
    socket.close();
    const int error = co_await support::error_of(std::move(waiting));
    CHECK(error == ECANCELED);
    CHECK_THROWS_AS(socket.recv_from(), std::logic_error);
  });
}

TEST_CASE("members of a multicast group get what is sent to it") {
  run([]() -> Task<> {
    UdpSocket member = UdpSocket::bind({.reuse_address = true}, "", 0);
    const bool is_four = member.local_address().host == "0.0.0.0";
    const std::string group = is_four ? "239.255.77.77" : "ff01::4242";
    try {
      member.join_group(group, "lo");
    } catch (const std::system_error&) {
      co_return;  // no multicast on this machine
    }
    member.set_multicast_loop(true);
    member.set_multicast_ttl(1);
    UdpSocket sender = UdpSocket::bind("127.0.0.1", 0);
    const in_addr via = {htonl(INADDR_LOOPBACK)};
    REQUIRE(::setsockopt(sender.native_handle(), IPPROTO_IP, IP_MULTICAST_IF, &via, sizeof via) == 0);
    if (is_four) {
      co_await send(sender, "to all", group, member.port());
      const Datagram datagram = co_await wait_for(member.recv_from(), 30s);
      CHECK(datagram.data == "to all");
    }
    member.leave_group(group, "lo");
    CHECK_THROWS_AS(member.join_group("nonsense"), std::invalid_argument);
  });
}
