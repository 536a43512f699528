#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <cofork/ipc/connect.hpp>
#include <cofork/ipc/listener.hpp>
#include <cofork/ipc/pipe.hpp>
#include <cofork/ipc/wait.hpp>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "ipc/connection_harness.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;
using namespace connection_test;
using namespace std::chrono_literals;

namespace {

using Text = ipc::Connection<std::string>;

std::string socket_path() { return (std::filesystem::temp_directory_path() / "listener").string(); }

/// A peer that is not one of ours.
ipc::Descriptor plain_socket_to(const std::string& path) {
  ipc::Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::system_error(errno, std::generic_category(), "connect");
  return socket;
}

bool peer_has_closed(const ipc::Descriptor& socket) {
  std::array<char, 1000> bytes;
  ssize_t count = 1;
  while (count > 0) count = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
  return count == 0 || errno == ECONNRESET;
}

std::string what_accept_says(const ipc::Listener& listener) {
  try {
    static_cast<void>(listener.blocking_accept<std::string>());
  } catch (const AuthenticationError& error) {
    return error.what();
  }
  return "accepted";
}

Task<std::string> greet(Text connection) {
  co_await connection.send("hello");
  co_return co_await connection.recv();
}

}  // namespace

TEST_CASE("a listener and its client talk without anybody waiting first") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind(path);
  CHECK(listener.port() == 0);
  Text client = ipc::blocking_connect<std::string>(path);
  Text server = listener.blocking_accept<std::string>();
  server.blocking_send("1729");
  CHECK(client.blocking_recv() == "1729");
  client.blocking_send("back");
  CHECK(server.blocking_recv() == "back");
  server.close();
  CHECK_THROWS_AS(client.blocking_recv(), EndOfFile);
  CHECK(std::filesystem::exists(path));
  listener.close();
  listener.close();
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_THROWS_AS(listener.blocking_accept<std::string>(), std::logic_error);
  CHECK_THROWS_AS(listener.port(), std::logic_error);
}

TEST_CASE("a path can be bound once at a time, and only the one who made it removes it") {
  const std::string path = socket_path();
  ipc::Listener first = ipc::Listener::bind(path);
  CHECK(error_of([&] { ipc::Listener::bind(path); }) == EADDRINUSE);
  {
    Child child([first] {});
    CHECK(child.wait() == 0);
  }
  CHECK(std::filesystem::exists(path));
  std::filesystem::remove(path);
  ipc::Listener second = ipc::Listener::bind(path);
  first.close();
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("addresses that are none are errors at once") {
  CHECK_THROWS_AS(ipc::Listener::bind(""), std::invalid_argument);
  CHECK_THROWS_AS(ipc::Listener::bind(std::string(200, 'x')), std::invalid_argument);
  CHECK_THROWS_AS(ipc::blocking_connect<int>(""), std::invalid_argument);
  CHECK(error_of([] { ipc::blocking_connect<int>(socket_path()); }) == ENOENT);
  CHECK(error_of([] { ipc::Listener::bind("no such host.invalid", 0); }) != 0);
  CHECK(error_of([] { ipc::blocking_connect<int>("no such host.invalid", 1); }) != 0);
  // Bound, so that nobody else listens there.
  const ipc::Descriptor bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(bound.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const std::uint16_t free_port = ntohs(address.sin_port);
  CHECK(error_of([&] { ipc::blocking_connect<int>("127.0.0.1", free_port); }) == ECONNREFUSED);
  const auto main = [free_port]() -> Task<int> {
    try {
      co_await ipc::connect<int>("127.0.0.1", free_port);
    } catch (const std::system_error& error) {
      co_return error.code().value();
    }
    co_return 0;
  };
  CHECK(run(main) == ECONNREFUSED);
}

TEST_CASE("an abstract name needs no file") {
  const std::string name = std::string(1, '\0') + "cofork-test-" + std::to_string(::getpid());
  ipc::Listener listener = ipc::Listener::bind(name);
  Text client = ipc::blocking_connect<std::string>(name);
  Text server = listener.blocking_accept<std::string>();
  client.blocking_send("abstract");
  CHECK(server.blocking_recv() == "abstract");
}

TEST_CASE("TCP works with numbers and names, and carries long messages") {
  ipc::Listener listener = ipc::Listener::bind("127.0.0.1", 0);
  CHECK(listener.port() != 0);
  for (const char* const host : {"127.0.0.1", "localhost"}) {
    const auto main = [&listener, host]() -> Task<bool> {
      const std::string long_text(20 << 20, 'x');
      Text client = co_await ipc::connect<std::string>(host, listener.port());
      Text server = co_await listener.accept<std::string>();
      const auto answer = [](Text connection) -> Task<> {
        while (const auto text = co_await connection.next()) co_await connection.send(*text);
      };
      Future<void> answering = spawn(answer(server));
      server.close();
      co_await client.send(long_text);
      const std::string long_answer = co_await client.recv();
      co_await client.send("");
      const std::string short_answer = co_await client.recv();
      client.close();
      co_await answering;
      co_return long_answer == long_text&& short_answer.empty();
    };
    CHECK(run(main));
  }
}

TEST_CASE("with a key both sides prove that they know it, an empty one too") {
  const std::string path = socket_path();
  for (const std::string& key : {std::string("secret"), std::string(), std::string(200, 'k'), std::string("a\0b", 3)}) {
    ipc::Listener listener = ipc::Listener::bind({.authkey = key}, path);
    {
      std::jthread server([&listener] { listener.blocking_accept<std::string>().blocking_send("welcome"); });
      CHECK(ipc::blocking_connect<std::string>({.authkey = key}, path).blocking_recv() == "welcome");
    }
    const auto main = [&]() -> Task<std::string> {
      const auto serve = [](ipc::Listener at) -> Task<> {
        Text connection = co_await at.accept<std::string>();
        co_await connection.send("welcome");
      };
      Future<void> serving = spawn(serve(listener));
      Text client = co_await ipc::connect<std::string>({.authkey = key}, path);
      co_await serving;
      co_return co_await client.recv();
    };
    CHECK(run(main) == "welcome");
  }
}

TEST_CASE("a wrong key is an AuthenticationError on both sides, and the listener goes on") {
  ipc::Listener listener = ipc::Listener::bind({.authkey = "right"}, "127.0.0.1", 0);
  for (int i = 0; i < 3; ++i) {
    std::string said;
    std::jthread server([&] { said = what_accept_says(listener); });
    CHECK_THROWS_WITH(ipc::blocking_connect<std::string>({.authkey = "wrong"}, "127.0.0.1", listener.port()),
                      "authentication failed: the listener has another key");
    server.join();
    CHECK(said == "authentication failed: the peer does not know the key");
  }
  std::jthread server([&] { listener.blocking_accept<std::string>().blocking_send("welcome"); });
  CHECK(ipc::blocking_connect<std::string>({.authkey = "right"}, "127.0.0.1", listener.port()).blocking_recv() ==
        "welcome");
}

TEST_CASE("a key on one side only is an AuthenticationError, not a deadlock") {
  const std::string path = socket_path();
  {
    ipc::Listener listener = ipc::Listener::bind({.authkey = "key"}, path);
    Text client = ipc::blocking_connect<std::string>(path);
    CHECK(what_accept_says(listener) == "authentication failed: the peer has no key");
    CHECK_THROWS_AS(client.blocking_recv(), AuthenticationError);
    CHECK_THROWS_AS(client.blocking_recv(), AuthenticationError);
  }
  ipc::Listener listener = ipc::Listener::bind(path);
  std::string said;
  {
    std::jthread accepting([&] { said = what_accept_says(listener); });
    CHECK_THROWS_WITH(ipc::blocking_connect<std::string>({.authkey = "key"}, path),
                      "authentication failed: the peer has no key");
  }
  CHECK(said == "authentication failed: the peer wants a key, and this side has none");
}

TEST_CASE("a listener that knows no key cannot pose as one that does") {
  const std::string path = socket_path();
  ipc::Descriptor socket;
  std::jthread impostor([&] {
    // It accepts whatever the client says.
    ipc::Descriptor listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    ::bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listening.get(), 1);
    const ipc::Descriptor peer(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    detail::MessageHeader greeting;
    greeting.kind = detail::MessageHeader::greeting;
    greeting.size = 1;
    const std::string challenge = frame(greeting, std::string(32, 'c'));
    std::array<char, 80> answer;
    static_cast<void>(::send(peer.get(), challenge.data(), challenge.size(), MSG_NOSIGNAL));
    static_cast<void>(::recv(peer.get(), answer.data(), answer.size(), MSG_WAITALL));
    const std::string verdict = std::string("\1\0\0\0\0\0\0\0", 8) + std::string(32, 'v');
    static_cast<void>(::send(peer.get(), verdict.data(), verdict.size(), MSG_NOSIGNAL));
    char last;
    static_cast<void>(::recv(peer.get(), &last, 1, 0));
    ::unlink(path.c_str());
  });
  std::string said;
  while (said.empty()) {
    try {
      static_cast<void>(ipc::blocking_connect<int>({.authkey = "key"}, path));
      said = "connected";
    } catch (const AuthenticationError& error) {
      said = error.what();
    } catch (const std::system_error&) {
      std::this_thread::yield();  // it does not listen yet
    }
  }
  CHECK(said == "authentication failed: the listener does not know the key");
}

TEST_CASE("peers that say nothing, garbage, or go away hold up nobody") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind({.authkey = "key"}, path);
  std::vector<ipc::Descriptor> silent;
  for (int i = 0; i < 50; ++i) silent.push_back(plain_socket_to(path));
  const ipc::Descriptor garbage = plain_socket_to(path);
  const std::string bytes(1000, 'g');
  REQUIRE(::send(garbage.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == 1000);
  plain_socket_to(path).reset();
  detail::MessageHeader begun;
  begun.kind = detail::MessageHeader::greeting;
  begun.size = 1;
  const ipc::Descriptor stops = plain_socket_to(path);
  REQUIRE(::send(stops.get(), &begun, sizeof begun, MSG_NOSIGNAL) == sizeof begun);
  const auto main = [&]() -> Task<std::pair<int, std::string>> {
    const auto connect_and_greet = [](std::string to) -> Task<std::string> {
      Text connection = co_await ipc::connect<std::string>({.authkey = "key"}, std::move(to));
      co_return co_await greet(std::move(connection));
    };
    Future<std::string> client = spawn(connect_and_greet(path));
    int failed = 0;
    std::optional<Text> server;
    while (!server) {
      try {
        server = co_await listener.accept<std::string>();
      } catch (const AuthenticationError&) {
        ++failed;
      }
    }
    co_await server->send(co_await server->recv() + "!");
    co_return std::pair(failed, co_await std::move(client));
  };
  const auto [failed, answer] = run(main);
  CHECK(answer == "hello!");
  CHECK(failed == 2);
  CHECK(peer_has_closed(garbage));
}

TEST_CASE("many silent peers make room for those who come after them") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind({.authkey = "key"}, path);
  std::vector<ipc::Descriptor> silent;
  for (int i = 0; i < 300; ++i) silent.push_back(plain_socket_to(path));
  const auto start = std::chrono::steady_clock::now();
  std::jthread client([&] {
    for (bool served = false; !served;) {
      try {
        ipc::blocking_connect<std::string>({.authkey = "key"}, path).blocking_send("here");
        served = true;
      } catch (const AuthenticationError&) {
        // The listener gives each peer before it some milliseconds, which on a busy machine may take too long.
      }
    }
  });
  int failed = 0;
  std::optional<Text> server;
  while (!server) {
    try {
      server = listener.blocking_accept<std::string>();
    } catch (const AuthenticationError&) {
      ++failed;
    }
  }
  CHECK(server->blocking_recv() == "here");
  CHECK(failed >= 44);  // one less if the client is quicker than its listener
  if (std::chrono::steady_clock::now() - start < 9s) CHECK(failed <= 50);  // later their own time is over
}

TEST_CASE("a peer that takes too long costs one accept", "[limit:90]") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind({.authkey = "key"}, path);
  const ipc::Descriptor silent = plain_socket_to(path);
  const auto main = [&]() -> Task<std::string> {
    try {
      co_await listener.accept<std::string>();
    } catch (const AuthenticationError& error) {
      co_return error.what();
    }
    co_return "accepted";
  };
  const auto start = std::chrono::steady_clock::now();
  CHECK(run(main) == "authentication failed: the peer did not answer in time");
  CHECK(std::chrono::steady_clock::now() - start >= 9s);
  CHECK(peer_has_closed(silent));
}

TEST_CASE("without a key a peer that sends garbage costs its own connection, too") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind(path);
  const ipc::Descriptor garbage = plain_socket_to(path);
  const std::string bytes(1000, 'g');
  REQUIRE(::send(garbage.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == 1000);
  const ipc::Descriptor silent = plain_socket_to(path);
  Text client = ipc::blocking_connect<std::string>(path);
  CHECK(what_accept_says(listener) == "authentication failed: the peer speaks another language");
  Text server = listener.blocking_accept<std::string>();
  client.blocking_send("fine");
  CHECK(server.blocking_recv() == "fine");
}

TEST_CASE("what was sent before a close arrives over TCP, whoever has not read what") {
  ipc::Listener listener = ipc::Listener::bind("127.0.0.1", 0);
  const std::string text(500000, 't');
  std::jthread server_thread([&] { listener.blocking_accept<std::string>().blocking_send(text); });
  CHECK(ipc::blocking_connect<std::string>("127.0.0.1", listener.port()).blocking_recv() == text);
  server_thread.join();
  std::jthread client_thread(
      [&] { ipc::blocking_connect<std::string>("127.0.0.1", listener.port()).blocking_send(text); });
  CHECK(listener.blocking_accept<std::string>().blocking_recv() == text);
}

TEST_CASE("the greeting of a fresh connection is no message") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind(path);
  Text client = ipc::blocking_connect<std::string>(path);
  Text server = listener.blocking_accept<std::string>();
  CHECK_FALSE(client.blocking_poll(10ms));
  CHECK_FALSE(server.blocking_poll(10ms));
  CHECK(ipc::blocking_wait({client, server}, 10ms).empty());
  Text client2 = ipc::blocking_connect<std::string>(path);
  Text server2 = listener.blocking_accept<std::string>();
  const auto main = [&]() -> Task<std::size_t> {
    const std::vector<ipc::Waitable> both = {client2, server2};
    const std::vector<std::size_t> none = co_await ipc::wait(both, 10ms);
    const bool early = co_await server2.poll(5ms);
    co_await client2.send("now");
    const std::vector<std::size_t> one = co_await ipc::wait(both, 30s);
    co_return early ? 99 : none.size() * 10 + one.at(0);
  };
  CHECK(run(main) == 1);
  CHECK(server2.blocking_recv() == "now");
}

TEST_CASE("descriptors travel over Unix sockets, and are refused over TCP") {
  const std::string path = socket_path();
  ipc::Listener local = ipc::Listener::bind(path);
  auto client = ipc::blocking_connect<ipc::Connection<int>>(path);
  auto server = local.blocking_accept<ipc::Connection<int>>();
  auto [a, b] = ipc::pipe<int>();
  client.blocking_send(b);
  b.close();
  {
    auto received = server.blocking_recv();
    received.blocking_send(5);
    CHECK(a.blocking_recv() == 5);
  }
  CHECK_THROWS_AS(a.blocking_recv(), EndOfFile);
  ipc::Listener remote = ipc::Listener::bind("127.0.0.1", 0);
  auto tcp_client = ipc::blocking_connect<std::optional<ipc::Connection<int>>>("127.0.0.1", remote.port());
  auto tcp_server = remote.blocking_accept<std::optional<ipc::Connection<int>>>();
  CHECK_THROWS_AS(tcp_client.blocking_send(a), std::invalid_argument);
  tcp_client.blocking_send(std::nullopt);
  CHECK_FALSE(tcp_server.blocking_recv().has_value());
}

TEST_CASE("a stream's end travels between messages, not in the middle of one") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind(path);
  Text client = ipc::blocking_connect<std::string>(path);
  Text server = listener.blocking_accept<std::string>();
  auto [a, b] = ipc::pipe<Text>();
  Child child([b] {
    const Text received = b.blocking_recv();
    received.blocking_send(received.blocking_recv() + " from the child");
  });
  client.blocking_send("for the parent");
  client.blocking_send("hello");
  CHECK(server.blocking_recv() == "for the parent");
  a.blocking_send(server);
  server.close();
  CHECK(client.blocking_recv() == "hello from the child");
  CHECK(child.wait() == 0);
  // Too long for the socket's buffers.
  Text client2 = ipc::blocking_connect<std::string>(path);
  Text server2 = listener.blocking_accept<std::string>();
  const auto main = [&]() -> Task<bool> {
    auto sending = server2.send(std::string(4 << 20, 'x'));
    // What was begun is completed behind the back of who was cancelled.
    co_await wait_for(std::move(sending), 10ms);
    bool refused = false;
    try {
      auto giving = a.send(server2);
    } catch (const std::logic_error&) {
      refused = true;
    }
    const std::string received = co_await client2.recv();
    co_return refused&& received.size() == std::size_t{4} << 20;
  };
  CHECK(run(main));
}

TEST_CASE("senders of long messages over a stream take turns, cancelled or not") {
  ipc::Listener listener = ipc::Listener::bind("127.0.0.1", 0);
  const auto main = [&]() -> Task<std::pair<int, int>> {
    Text client = co_await ipc::connect<std::string>("127.0.0.1", listener.port());
    Text server = co_await listener.accept<std::string>();
    const auto send_some = [](Text to, char letter) -> Task<int> {
      int sent = 0;
      for (int i = 0; i < 5; ++i) {
        auto sending = to.send(std::string(3 << 20, letter));
        try {
          co_await wait_for(std::move(sending), i % 2 == 0 ? 1ms : 30'000ms);
          ++sent;
        } catch (const TimeoutError&) {
        }
      }
      co_return sent;
    };
    std::vector<Future<int>> senders;
    for (const char letter : {'a', 'b', 'c'}) senders.push_back(spawn(send_some(client, letter)));
    client.close();
    const auto receive = [](Text from) -> Task<int> {
      int whole = 0;
      while (const auto text = co_await from.next()) {
        if (text->size() == std::size_t{3} << 20 && text->find_first_not_of(text->front()) == std::string::npos)
          ++whole;
      }
      co_return whole;
    };
    Future<int> receiving = spawn(receive(server));
    server.close();
    const std::vector<int> counts = co_await gather(std::move(senders));
    int sent = 0;
    for (const int count : counts) sent += count;
    co_return std::pair(sent, co_await std::move(receiving));
  };
  const auto [sent, received] = run(main);
  CHECK(sent == received);
  CHECK(sent >= 6);
}

TEST_CASE("accept can be cancelled, and the next one gets the peer") {
  const std::string path = socket_path();
  for (const bool with_key : {false, true}) {
    const auto main = [&, with_key]() -> Task<std::string> {
      ipc::Listener listener = with_key ? ipc::Listener::bind({.authkey = "key"}, path) : ipc::Listener::bind(path);
      for (int i = 0; i < 3; ++i) {
        auto accepting = listener.accept<std::string>();
        try {
          static_cast<void>(co_await wait_for(std::move(accepting), i * 1ms));
        } catch (const TimeoutError&) {
        }
      }
      const auto connect_and_greet = [](std::string to, bool key) -> Task<std::string> {
        std::optional<Text> connection;
        if (key)
          connection = co_await ipc::connect<std::string>({.authkey = "key"}, std::move(to));
        else
          connection = co_await ipc::connect<std::string>(std::move(to));
        co_return co_await greet(*connection);
      };
      Future<std::string> client = spawn(connect_and_greet(path, with_key));
      std::optional<Text> server;
      while (!server) {
        auto accepting = listener.accept<std::string>();
        try {
          server = co_await wait_for(std::move(accepting), 0ns);
        } catch (const TimeoutError&) {
        }
        co_await yield_now();
      }
      co_await server->send(co_await server->recv() + "!");
      co_return co_await std::move(client);
    };
    CHECK(run(main) == "hello!");
  }
}

TEST_CASE("connect can be cancelled at any moment") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind({.authkey = "key"}, path);
  const auto main = [&]() -> Task<int> {
    int cancelled = 0;
    for (int i = 0; i < 6; ++i) {
      auto connecting = ipc::connect<int>({.authkey = "key"}, path);
      try {
        static_cast<void>(co_await wait_for(std::move(connecting), i % 3 * 1ms));
      } catch (const TimeoutError&) {
        ++cancelled;
      }
    }
    co_return cancelled;
  };
  CHECK(run(main) == 6);
}

TEST_CASE("several processes accept at one listener, with a key or without") {
  const std::string path = socket_path();
  for (const bool with_key : {false, true}) {
    ipc::Listener listener = with_key ? ipc::Listener::bind({.authkey = "key"}, path) : ipc::Listener::bind(path);
    const auto serve = [listener](int number) {
      while (true) {
        const auto connection = listener.blocking_accept<int>();
        connection.blocking_send(number);
      }
    };
    Child first([serve] { serve(1); });
    Child second([serve] { serve(2); });
    const auto main = [&, with_key]() -> Task<int> {
      const auto ask = [](std::string to, bool key) -> Task<int> {
        std::optional<ipc::Connection<int>> connection;
        if (key)
          connection = co_await ipc::connect<int>({.authkey = "key"}, std::move(to));
        else
          connection = co_await ipc::connect<int>(std::move(to));
        co_return co_await connection->recv();
      };
      std::vector<Future<int>> clients;
      for (int i = 0; i < 20; ++i) clients.push_back(spawn(ask(path, with_key)));
      const std::vector<int> numbers = co_await gather(std::move(clients));
      int sum = 0;
      for (const int number : numbers) sum += number;
      co_return sum;
    };
    const int sum = run(main);
    CHECK(sum >= 20);
    CHECK(sum <= 40);
  }
}

TEST_CASE("a listener travels in a message") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind({.authkey = "key"}, path);
  auto [a, b] = ipc::pipe<ipc::Listener>();
  Child child([b] { b.blocking_recv().blocking_accept<int>().blocking_send(7); });
  a.blocking_send(listener);
  CHECK(ipc::blocking_connect<int>({.authkey = "key"}, path).blocking_recv() == 7);
  CHECK(child.wait() == 0);
}

TEST_CASE("blocking twins refuse to block a loop") {
  const std::string path = socket_path();
  ipc::Listener listener = ipc::Listener::bind(path);
  const auto main = [&]() -> Task<int> {
    int refused = 0;
    try {
      static_cast<void>(listener.blocking_accept<int>());
    } catch (const std::logic_error&) {
      ++refused;
    }
    try {
      static_cast<void>(ipc::blocking_connect<int>(path));
    } catch (const std::logic_error&) {
      ++refused;
    }
    try {
      static_cast<void>(ipc::blocking_wait({}));
    } catch (const std::logic_error&) {
      ++refused;
    }
    co_return refused;
  };
  CHECK(run(main) == 3);
}
