#include <netinet/tcp.h>

#include <atomic>
#include <cofork/runtime/resolve.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/tcp.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::Started;
using support::turns;

namespace {

Task<> echo(TcpStream stream) {
  std::array<std::byte, 4096> buffer;
  while (const std::size_t count = co_await stream.read_some(buffer))
    co_await stream.write(std::span<const std::byte>(buffer.data(), count));
}

Task<> echo_one(TcpListener& listener) {
  TcpStream stream = co_await listener.accept();
  co_await echo(std::move(stream));
}

Task<> accept_into(TcpListener& listener, std::vector<int>& order, int name) {
  const TcpStream stream = co_await listener.accept();
  order.push_back(name);
}

Task<> accept_and_drop(TcpListener& listener) { static_cast<void>(co_await listener.accept()); }
Task<> connect_and_drop(std::uint16_t port, std::string host = "127.0.0.1") {
  static_cast<void>(co_await TcpStream::connect(std::move(host), port));
}
Task<> resolve_and_drop(std::string host) { static_cast<void>(co_await resolve(std::move(host))); }

Task<> write_text(TcpStream& stream, std::string_view text) { co_await stream.write(text); }

// No label of a name may be so long: nobody on the network is asked for it.
const std::string no_host(64, 'x');

int option(int socket, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, level, name, &value, &size) == 0 ? value : -1;
}

}  // namespace

TEST_CASE("a listener serves clients that are not ours") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  REQUIRE(listener.port() != 0);
  std::string answer;
  std::thread client([&answer, port = listener.port()] {
    const support::Peer peer = support::connect_to(port);
    peer.write("hello");
    answer = peer.read(5);
    peer.shutdown_write();
    answer += peer.read(1) + "!";
  });
  run(echo_one(listener));
  client.join();
  CHECK(answer == "hello!");
}

TEST_CASE("a stream connects to a server that is not ours, by address and by name") {
  const std::string host = GENERATE("127.0.0.1", "localhost", "");
  const support::Listening server = support::listen_at_loopback();
  run([&]() -> Task<> {
    TcpStream stream = co_await TcpStream::connect(host, server.port);
    const support::Peer peer(::accept(server.socket.get(), nullptr, nullptr));
    co_await stream.write("question\n");
    CHECK(peer.read(9) == "question\n");
    peer.write("answer\n");
    const auto line = co_await stream.read_line();
    CHECK(line == "answer");
    CHECK(option(stream.native_handle(), IPPROTO_TCP, TCP_NODELAY) == 1);
    stream.set_nodelay(false);
    CHECK(option(stream.native_handle(), IPPROTO_TCP, TCP_NODELAY) == 0);
    stream.set_keepalive(true, 10s, 5s, 3);
    CHECK(option(stream.native_handle(), SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(option(stream.native_handle(), IPPROTO_TCP, TCP_KEEPIDLE) == 10);
    CHECK(stream.peer_address().port == server.port);
    CHECK(stream.peer_address().host == "127.0.0.1");
    CHECK(stream.local_address().port != 0);
  });
}

TEST_CASE("a refused connection says who refused it") {
  const support::Listening nobody = support::bind_to_loopback();
  run([port = nobody.port]() -> Task<> {
    std::string what;
    try {
      co_await connect_and_drop(port);
    } catch (const std::system_error& error) {
      CHECK(error.code() == std::error_code(ECONNREFUSED, std::generic_category()));
      what = error.what();
    }
    CHECK(what == "connect to 127.0.0.1:" + std::to_string(port) + ": Connection refused");
  });
}

TEST_CASE("a name that is not known is an error, and a known one gives its addresses") {
  run([]() -> Task<> {
    auto task = resolve_and_drop(no_host);
    const int error = co_await support::error_of_task(std::move(task));
    CHECK(error != 0);
    const std::vector<std::string> local = co_await resolve("localhost");
    CHECK(!local.empty());
    const std::vector<std::string> numeric = co_await resolve("::1");
    CHECK(numeric == std::vector<std::string>{"::1"});
  });
}

TEST_CASE("what waits in accept, connect or resolve can be cancelled or destroyed there") {
  const bool destroy = GENERATE(false, true);
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  // Nobody accepts and its queue is full: further connections are not answered.
  const support::Listening full = support::listen_at_loopback(0);
  const support::Peer first = support::connect_to(full.port);
  run([&]() -> Task<> {
    for (int what = 0; what < 3; ++what) {
      Task<> task = what == 0   ? accept_and_drop(listener)
                    : what == 1 ? connect_and_drop(full.port)
                                : resolve_and_drop(no_host);
      Started started(std::move(task));
      if (destroy) {
        started.destroy();
        continue;
      }
      started.cancel();
      while (!started.ended()) co_await turns(1);
    }
    // The connection that comes after a cancelled accept is not lost.
    const support::Peer peer = support::connect_to(listener.port());
    co_await accept_and_drop(listener);
  });
}

TEST_CASE("in a cancelled coroutine accept and connect throw instead of waiting") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    const bool late = co_await support::throws<TimeoutError>(wait_for(accept_and_drop(listener), 0ns));
    CHECK(late);
  });
}

TEST_CASE("several coroutines that accept are served in order") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    std::vector<int> order;
    std::vector<Future<void>> waiting;
    for (int i = 0; i < 5; ++i) waiting.push_back(spawn(accept_into(listener, order, i)));
    co_await turns(2);
    std::vector<support::Peer> peers;
    for (int i = 0; i < 5; ++i) peers.push_back(support::connect_to(listener.port()));
    for (Future<void>& each : waiting) co_await each;
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
  });
}

TEST_CASE("who comes later does not overtake who already waits in accept") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    std::vector<int> order;
    const Future<void> first = spawn(accept_into(listener, order, 1));
    co_await turns(2);
    // There are two connections now, and nothing has told the loop.
    const std::array<support::Peer, 2> peers = {support::connect_to(listener.port()),
                                                support::connect_to(listener.port())};
    co_await accept_into(listener, order, 2);
    CHECK(order == std::vector<int>{1, 2});
  });
}

TEST_CASE("a listener at all addresses is there for both families, and names IPv4 peers as such") {
  TcpListener listener = TcpListener::bind("", 0);
  run([&]() -> Task<> {
    const support::Peer peer = support::connect_to(listener.port());
    const TcpStream four = co_await listener.accept();
    CHECK(four.peer_address().host == "127.0.0.1");
    CHECK(four.local_address().host == "127.0.0.1");
    CHECK(four.local_address().port == listener.port());
    try {
      static_cast<void>(TcpListener::bind("::1", 0));
    } catch (const std::system_error&) {
      co_return;  // a system without IPv6
    }
    const Future<void> client = spawn(connect_and_drop(listener.port(), "::1"));
    const TcpStream six = co_await listener.accept();
    CHECK(six.peer_address().host == "::1");
    while (!client.done()) co_await turns(1);
  });
}

TEST_CASE("closing a listener ends the waiting accept, and later use is a logic error") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    Future<void> waiting = spawn(accept_and_drop(listener));
    co_await turns(2);
    CHECK_THROWS_AS(listener.release(), std::logic_error);
    listener.close();
    const int error = co_await support::error_of(std::move(waiting));
    CHECK(error == ECANCELED);
    CHECK_THROWS_AS(listener.accept(), std::logic_error);
    CHECK_THROWS_AS(listener.port(), std::logic_error);
    listener.close();
  });
}

TEST_CASE("without a free descriptor accept reports it, does not spin, and gets the peer later") {
  if (support::needs_free_descriptors()) return;
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    co_await sleep(0ns);
    const support::Peer peer = support::connect_to(listener.port());
    {
      const support::FewDescriptors few(0);
      const auto begin = std::chrono::steady_clock::now();
      int errors = 0;
      while (std::chrono::steady_clock::now() - begin < 100ms) {
        const int error = co_await support::error_of_task(accept_and_drop(listener));
        CHECK(error == EMFILE);
        ++errors;
      }
      CHECK(errors < 10);
    }
    co_await accept_and_drop(listener);
  });
}

TEST_CASE("a connection that the peer resets is ECONNRESET for a reader, and EPIPE or ECONNRESET for a writer") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    support::Peer peer = support::connect_to(listener.port());
    TcpStream stream = co_await listener.accept();
    const auto read = [](TcpStream& from) -> Task<> { static_cast<void>(co_await from.read_line()); };
    Future<void> reader = spawn(read(stream));
    co_await turns(2);
    peer.reset();
    int error = co_await support::error_of(std::move(reader));
    CHECK(error == ECONNRESET);
    error = co_await support::error_of(stream.write("x"));
    CHECK((error == EPIPE || error == ECONNRESET));
  });
}

TEST_CASE("a half-closed connection goes on in the other direction, whoever closed first") {
  const bool ours_first = GENERATE(false, true);
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    const support::Peer peer = support::connect_to(listener.port());
    TcpStream stream = co_await listener.accept();
    if (ours_first) {
      co_await stream.write("question");
      co_await stream.shutdown_write();
      CHECK(peer.read(100) == "question");
      peer.write("answer\n");
      const auto line = co_await stream.read_line();
      CHECK(line == "answer");
      peer.shutdown_write();
    } else {
      peer.write("question\n");
      peer.shutdown_write();
      const auto line = co_await stream.read_line();
      CHECK(line == "question");
      const auto end = co_await stream.read_line();
      CHECK(!end);
      co_await stream.write("answer");
      CHECK(peer.read(6) == "answer");
    }
    const auto end = co_await stream.read_line();
    CHECK(!end);
  });
}

TEST_CASE("a peer that reads slowly makes the writer wait, and gets everything") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  std::string much(30'000'000, '\0');
  for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * 7 % 251);
  std::string got;
  std::atomic<bool> may_read = false;
  std::thread reader([&, port = listener.port()] {
    const support::Peer peer = support::connect_to(port);
    may_read.wait(false);
    while (true) {
      const std::string part = peer.read(1'000'003);
      got += part;
      if (part.size() < 1'000'003) break;
    }
  });
  run([&]() -> Task<> {
    TcpStream stream = co_await listener.accept();
    Future<void> writer = spawn(write_text(stream, much));
    for (int i = 0; i < 20; ++i) co_await sleep(1ms);
    CHECK(!writer.done());
    may_read = true;
    may_read.notify_one();
    co_await writer;
    stream.close();
  });
  reader.join();
  CHECK((got == much));
}

TEST_CASE("a connection that is gone before it is accepted does not disturb the next one") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    support::connect_to(listener.port()).reset();
    const support::Peer peer = support::connect_to(listener.port());
    peer.write("x");
    std::string text;
    while (text.empty()) {
      TcpStream stream = co_await listener.accept();
      std::array<std::byte, 1> one;
      int error = 0;
      std::size_t count = 0;
      try {
        count = co_await stream.read_some(one);
      } catch (const std::system_error& reset) {
        error = reset.code().value();
      }
      if (error == 0) text.assign(count, 'x');
    }
    CHECK(text == "x");
  });
}

TEST_CASE("IPv6 where there is some") {
  std::optional<TcpListener> listener;
  try {
    listener = TcpListener::bind("::1", 0);
  } catch (const std::system_error&) {
    return;
  }
  run([&]() -> Task<> {
    const Future<void> server = spawn(echo_one(*listener));
    {
      TcpStream stream = co_await TcpStream::connect("::1", listener->port());
      co_await stream.write("six\n");
      const auto line = co_await stream.read_line();
      CHECK(line == "six");
      CHECK(stream.peer_address().host == "::1");
    }
    while (!server.done()) co_await turns(1);
  });
}

TEST_CASE("errors of a listener name the port that it was given") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  const std::string name = "127.0.0.1:" + std::to_string(listener.port());
  run([&]() -> Task<> {
    Future<void> waiting = spawn(accept_and_drop(listener));
    co_await turns(2);
    listener.close();
    std::string message;
    try {
      co_await waiting;
    } catch (const std::system_error& error) {
      message = error.what();
    }
    CHECK(message.starts_with("accept from " + name + ": "));
  });
}

TEST_CASE("a listener can be made of a descriptor, and given up again") {
  auto [server, port] = support::listen_at_loopback();
  TcpListener listener = TcpListener::adopt(::dup(server.get()));
  CHECK(listener.port() == port);
  const int descriptor = listener.release();
  CHECK(::close(descriptor) == 0);
  CHECK_THROWS_AS(TcpListener::adopt(::dup(0)), std::system_error);
  CHECK_THROWS_AS(TcpListener::adopt(::socket(AF_INET, SOCK_STREAM, 0)), std::invalid_argument);
}

TEST_CASE("an address in use is an error that names it") {
  const TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  std::string what;
  try {
    static_cast<void>(TcpListener::bind("127.0.0.1", listener.port()));
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::address_in_use);
    what = error.what();
  }
  CHECK(what == "bind 127.0.0.1:" + std::to_string(listener.port()) + ": Address already in use");
}
