#include <cofork/runtime/happy_eyeballs.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/tcp.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using detail::SocketAddress;
using support::open_sockets;
using support::Started;
using support::turns;

namespace {

using Addresses = std::vector<SocketAddress>;

SocketAddress at_loopback(std::uint16_t port) { return detail::find_addresses("127.0.0.1", port, false, true).front(); }

SocketAddress of_no_family() {
  SocketAddress address = at_loopback(1);
  address.storage.ss_family = AF_MAX;
  return address;
}

/// Its queue is full, so it answers to nobody until somebody accepts: then to the next time that it is asked, which is
/// after a second.
struct BlackHole {
  support::Listening server = support::listen_at_loopback(0);
  support::Peer first = support::connect_to_queue_of(server);

  SocketAddress address() const { return at_loopback(server.port); }
  support::Peer accept() const { return support::Peer(::accept(server.socket.get(), nullptr, nullptr)); }
};

Task<> connect_into(std::optional<TcpStream>& stream, Addresses addresses) {
  detail::StreamPtr state = co_await detail::connect_to_first(std::move(addresses), "peer");
  stream.emplace(std::move(state));
}

Task<std::uint16_t> connected_port(Addresses addresses) {
  std::optional<TcpStream> stream;
  co_await connect_into(stream, std::move(addresses));
  co_return stream->peer_address().port;
}

Task<std::system_error> failure(Addresses addresses) {
  std::optional<TcpStream> stream;
  try {
    co_await connect_into(stream, std::move(addresses));
  } catch (const std::system_error& error) {
    co_return error;
  }
  co_return std::system_error(0, std::generic_category(), "connected");
}

std::vector<std::string> hosts(const Addresses& addresses) {
  std::vector<std::string> hosts;
  for (const SocketAddress& each : addresses) hosts.push_back(detail::host_of(each));
  return hosts;
}

}  // namespace

TEST_CASE("addresses are tried by families in turn, each family in its order") {
  const auto of = [](const std::vector<std::string>& hosts) {
    Addresses addresses;
    for (const std::string& host : hosts) addresses.push_back(detail::find_addresses(host, 80, false, true).front());
    return addresses;
  };
  CHECK(detail::interleaved({}).empty());
  const std::vector<std::string> one_family{"1.1.1.1", "2.2.2.2", "3.3.3.3"};
  CHECK(hosts(detail::interleaved(of(one_family))) == one_family);
  const std::vector<std::string> six_first{"::1", "::2", "::3", "1.1.1.1", "2.2.2.2"};
  CHECK(hosts(detail::interleaved(of(six_first))) ==
        std::vector<std::string>{"::1", "1.1.1.1", "::2", "2.2.2.2", "::3"});
  const std::vector<std::string> four_first{"1.1.1.1", "::1", "::2", "::3"};
  CHECK(hosts(detail::interleaved(of(four_first))) == std::vector<std::string>{"1.1.1.1", "::1", "::2", "::3"});
}

TEST_CASE("an address that refuses costs no time") {
  const support::Listening server = support::listen_at_loopback();
  const support::Listening nobody = support::bind_to_loopback();
  Addresses addresses(40, at_loopback(nobody.port));
  addresses.push_back(at_loopback(server.port));
  const auto begin = std::chrono::steady_clock::now();
  const std::uint16_t port = run(connected_port(addresses));
  CHECK(port == server.port);
  CHECK(std::chrono::steady_clock::now() - begin < 40 * detail::connection_attempt_delay);
}

TEST_CASE("an address that does not answer is given up when another one does") {
  const support::Listening server = support::listen_at_loopback();
  const BlackHole silent;
  run([&]() -> Task<> {
    const Addresses addresses{silent.address(), at_loopback(server.port)};
    const auto before = open_sockets();
    const auto begin = std::chrono::steady_clock::now();
    std::optional<TcpStream> stream;
    co_await connect_into(stream, addresses);
    CHECK(stream->peer_address().port == server.port);
    // Timers count whole milliseconds.
    CHECK(std::chrono::steady_clock::now() - begin >= detail::connection_attempt_delay - 2ms);
    CHECK(open_sockets().size() == before.size() + 1);
  });
}

TEST_CASE("an earlier address that answers late wins over a later one that does not answer") {
  const BlackHole late, silent;
  run([&]() -> Task<> {
    const Addresses addresses{late.address(), silent.address()};
    const std::size_t before = open_sockets().size();
    std::optional<TcpStream> stream;
    Started connecting(connect_into(stream, addresses));
    while (open_sockets().size() < before + 2) co_await sleep(5ms);
    const support::Peer peer = late.accept();
    while (!connecting.ended()) co_await sleep(5ms);
    REQUIRE(stream.has_value());
    CHECK(stream->peer_address().port == late.server.port);
    CHECK(open_sockets().size() == before + 2);  // the stream, and what was accepted
  });
}

TEST_CASE("when two addresses answer at once one connection remains") {
  const BlackHole one, other;
  run([&]() -> Task<> {
    const Addresses addresses{one.address(), other.address()};
    const auto before = open_sockets();
    std::optional<TcpStream> stream;
    Started connecting(connect_into(stream, addresses));
    while (open_sockets().size() < before.size() + 2) co_await sleep(5ms);
    const auto now = open_sockets();
    {
      const support::Peer first = one.accept(), second = other.accept();
      // The loop is kept from seeing the first answer until both are there.
      for (const int descriptor : now) {
        pollfd connected = {descriptor, POLLOUT, 0};
        if (!before.contains(descriptor)) REQUIRE(::poll(&connected, 1, 30000) == 1);
      }
      while (!connecting.ended()) co_await turns(1);
    }
    CHECK(stream.has_value());
    CHECK(open_sockets().size() == before.size() + 1);
  });
}

TEST_CASE("when no address answers the error tells what each one said") {
  const support::Listening one = support::bind_to_loopback(), other = support::bind_to_loopback();
  run([&]() -> Task<> {
    Addresses addresses{at_loopback(one.port), at_loopback(other.port)};
    const std::system_error refused = co_await failure(addresses);
    CHECK(refused.code() == std::errc::connection_refused);
    CHECK(refused.what() == "connect to peer (127.0.0.1:" + std::to_string(one.port) +
                                ": Connection refused; 127.0.0.1:" + std::to_string(other.port) +
                                ": Connection refused): Connection refused");
    // That this machine lacks a family does not hide that the other address refused.
    addresses[1] = of_no_family();
    const std::system_error refused_or_no_family = co_await failure(addresses);
    CHECK(refused_or_no_family.code() == std::errc::connection_refused);
    addresses[0] = of_no_family();
    const std::system_error no_family = co_await failure(addresses);
    CHECK(no_family.code() == std::errc::address_family_not_supported);
    addresses[1] = at_loopback(one.port);
    const std::system_error refused_last = co_await failure(addresses);
    CHECK(refused_last.code() == std::errc::connection_refused);
  });
}

TEST_CASE("a host with several addresses is connected to whichever of them answers, or names them all") {
  // An empty name is this machine, at its addresses of both families.
  const support::Listening server = support::listen_at_loopback();
  const support::Listening nobody = support::bind_to_loopback();
  run([&]() -> Task<> {
    {
      const TcpStream stream = co_await TcpStream::connect("", server.port);
      CHECK(stream.peer_address().port == server.port);
    }
    std::string what;
    try {
      static_cast<void>(co_await TcpStream::connect("", nobody.port));
    } catch (const std::system_error& error) {
      CHECK(error.code() == std::errc::connection_refused);
      what = error.what();
    }
    CHECK(what.find("127.0.0.1:" + std::to_string(nobody.port) + ": Connection refused") != std::string::npos);
  });
}

TEST_CASE("without a free descriptor connecting is EMFILE, for one address and for several") {
  if (support::needs_free_descriptors()) return;
  const support::Listening server = support::listen_at_loopback();
  run([&]() -> Task<> {
    co_await sleep(0ns);
    for (const std::size_t count : {1, 3}) {
      const Addresses addresses(count, at_loopback(server.port));
      std::optional<std::system_error> error;
      {
        const support::FewDescriptors few(0);
        error = co_await failure(addresses);
      }
      CHECK(error->code().value() == EMFILE);
    }
  });
}

TEST_CASE("connecting to several addresses can be cancelled or destroyed with any number of attempts under way") {
  const bool destroy = GENERATE(false, true);
  const std::size_t attempts = GENERATE(0, 1, 2, 3);
  const BlackHole one, two, three;
  run([&]() -> Task<> {
    const Addresses addresses{one.address(), two.address(), three.address()};
    const std::size_t before = open_sockets().size();
    std::optional<TcpStream> stream;
    Started connecting(connect_into(stream, addresses));
    while (open_sockets().size() < before + attempts) co_await sleep(5ms);
    if (destroy) {
      connecting.destroy();
    } else {
      connecting.cancel();
      while (!connecting.ended()) co_await turns(1);
    }
    CHECK(!stream.has_value());
    CHECK(open_sockets().size() == before);
  });
}

TEST_CASE("connecting to several addresses is cancelled or destroyed in any turn and leaves a connection or nothing") {
  const bool destroy = GENERATE(false, true);
  // By then the connection is there, unless the kernel defers the answers: that takes time, however many turns pass.
  constexpr int enough = 300;
  const support::Listening server = support::listen_at_loopback(4000);
  const support::Listening nobody = support::bind_to_loopback();
  run([&]() -> Task<> {
    const Addresses addresses{at_loopback(nobody.port), at_loopback(server.port), at_loopback(server.port)};
    const std::size_t before = open_sockets().size();
    bool in_time = false;
    for (int turn = 0; !in_time; ++turn) {
      std::optional<TcpStream> stream;
      Started connecting(connect_into(stream, addresses));
      co_await turns(std::min(turn, enough));
      if (turn > enough) co_await sleep(std::chrono::milliseconds(turn - enough));
      in_time = connecting.ended();
      if (destroy && !connecting.ended()) {
        connecting.destroy();
      } else {
        connecting.cancel();
        while (!connecting.ended()) co_await turns(1);
      }
      CHECK(open_sockets().size() == before + (stream ? 1 : 0));
      CHECK((stream || !in_time));
    }
  });
}
