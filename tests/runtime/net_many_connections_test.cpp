// Ten thousand connections with a peer in another process that makes plain system calls. Connections are ended by a
// reset, so that none of them occupies a port afterwards.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task_group.hpp>
#include <cofork/runtime/tcp.hpp>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"

using namespace cofork;
using support::open_sockets;
using support::turns;

namespace {

constexpr int one_by_one = 5000, waves = 50, in_a_wave = 100;

/// A forked child that executes `body`, which must not use what it has from its parent but descriptors.
template <class F>
class PeerProcess {
 public:
  explicit PeerProcess(F body) : pid_(::fork()) {
    if (pid_ < 0) support::fail("fork");
    if (pid_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      body();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;
  ~PeerProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  /// Waits for its end, which must come by itself.
  int status() {
    int status = -1;
    if (::waitpid(pid_, &status, 0) < 0) support::fail("waitpid");
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_;
};

/// Everyone says something; a third are gone before they are answered.
void be_clients(std::uint16_t port) {
  for (int i = 0; i < one_by_one; ++i) {
    support::Peer peer = support::connect_to(port);
    peer.write("x");
    if (i % 3 != 0 && peer.read(1) != "x") ::_exit(2);
    peer.reset();
  }
  for (int wave = 0; wave < waves; ++wave) {
    std::vector<support::Peer> peers;
    for (int i = 0; i < in_a_wave; ++i) peers.push_back(support::connect_to(port));
    for (const support::Peer& peer : peers) peer.write("x");
    for (std::size_t i = 0; i < peers.size(); ++i) {
      if (i % 3 != 0 && peers[i].read(1) != "x") ::_exit(2);
      peers[i].reset();
    }
  }
}

Task<> answer(TcpStream stream) {
  std::array<std::byte, 1> one;
  try {
    while (const std::size_t count = co_await stream.read_some(one))
      co_await stream.write(std::span<const std::byte>(one.data(), count));
  } catch (const std::system_error&) {  // the reset
  }
}

void be_server(const support::Peer& listener) {
  for (int i = 0; i < one_by_one + waves * in_a_wave; ++i) {
    const support::Peer peer(::accept(listener.get(), nullptr, nullptr));
    peer.write(peer.read(1));
    // The end, and not before it has come: it is the client that resets.
    char end;
    if (::read(peer.get(), &end, 1) > 0) ::_exit(2);
  }
}

Task<> ask(std::uint16_t port, int& answers) {
  TcpStream stream = co_await TcpStream::connect("127.0.0.1", port);
  const linger now = {1, 0};
  if (::setsockopt(stream.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0) support::fail("setsockopt");
  std::array<std::byte, 1> one = {std::byte('x')};
  co_await stream.write(std::span<const std::byte>(one));
  co_await stream.read_exactly(one);
  answers += one[0] == std::byte('x');
}

}  // namespace

TEST_CASE("ten thousand clients of another process come one by one and in waves, and leave nothing", "[limit:240]") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  const std::size_t before = open_sockets().size();
  PeerProcess clients([port = listener.port()] { be_clients(port); });
  run([&]() -> Task<> {
    const auto body = [&](TaskGroup& group) -> Task<> {
      for (int i = 0; i < one_by_one + waves * in_a_wave; ++i) {
        TcpStream stream = co_await listener.accept();
        static_cast<void>(group.spawn(answer(std::move(stream))));
      }
    };
    co_await with_task_group(body);
    CHECK(open_sockets().size() == before);
  });
  CHECK(clients.status() == 0);
}

TEST_CASE("ten thousand connections are made to another process one by one and in waves, and leave nothing",
          "[limit:240]") {
  const support::Listening listening = support::listen_at_loopback(in_a_wave);
  const std::size_t before = open_sockets().size();
  PeerProcess server([&socket = listening.socket] { be_server(socket); });
  int answers = 0;
  run([&]() -> Task<> {
    for (int i = 0; i < one_by_one; ++i) co_await ask(listening.port, answers);
    for (int wave = 0; wave < waves; ++wave) {
      const auto body = [&](TaskGroup& group) -> Task<> {
        for (int i = 0; i < in_a_wave; ++i) static_cast<void>(group.spawn(ask(listening.port, answers)));
        co_return;
      };
      co_await with_task_group(body);
    }
    CHECK(open_sockets().size() == before);
  });
  CHECK(answers == one_by_one + waves * in_a_wave);
  CHECK(server.status() == 0);
}
