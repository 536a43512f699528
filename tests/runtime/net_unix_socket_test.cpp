#include <sys/un.h>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/unix_socket.hpp>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"

using namespace cofork;
using support::turns;

namespace {

support::Peer connect_unix(const std::string& path, bool abstract) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  if (abstract) name.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  support::Peer peer(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(peer.get(), reinterpret_cast<const sockaddr*>(&name), size) < 0) support::fail("connect");
  return peer;
}

Task<> greet(UnixListener& listener) {
  UnixStream stream = co_await listener.accept();
  const auto name = co_await stream.read_line();
  co_await stream.write("hello ", name.value_or("nobody"), "\n");
}

Task<> connect_and_drop(std::string path) { static_cast<void>(co_await UnixStream::connect(std::move(path))); }

}  // namespace

TEST_CASE("a Unix listener at a path and at an abstract name serves clients that are not ours, and ours") {
  const bool abstract = GENERATE(false, true);
  const std::string path =
      abstract ? "@cofork-test-" + std::to_string(::getpid()) : (std::filesystem::temp_directory_path() / "s").string();
  run([&]() -> Task<> {
    UnixListener listener = UnixListener::bind(path);
    CHECK(std::filesystem::exists(path) == !abstract);
    {
      const support::Peer peer = connect_unix(path, abstract);
      peer.write("peer\n");
      co_await greet(listener);
      CHECK(peer.read(11) == "hello peer\n");
    }
    const Future<void> server = spawn(greet(listener));
    UnixStream stream = co_await UnixStream::connect(path);
    co_await stream.write("stream\n");
    const auto line = co_await stream.read_line();
    CHECK(line == "hello stream");
    while (!server.done()) co_await turns(1);
    listener.close();
    CHECK(!std::filesystem::exists(path));
    auto task = connect_and_drop(path);
    const int error = co_await support::error_of_task(std::move(task));
    CHECK((error == ENOENT || error == ECONNREFUSED));
  });
}

TEST_CASE("a Unix listener removes only a file of its own") {
  const std::string path = (std::filesystem::temp_directory_path() / "s").string();
  {
    UnixListener first = UnixListener::bind(path);
    CHECK_THROWS_AS(UnixListener::bind(path), std::system_error);
    std::filesystem::remove(path);
    const UnixListener second = UnixListener::bind(path);
    first.close();
    CHECK(std::filesystem::exists(path));
  }
  CHECK(!std::filesystem::exists(path));
  CHECK_THROWS_AS(UnixListener::bind(""), std::invalid_argument);
  CHECK_THROWS_AS(UnixListener::bind(std::string(200, 'x')), std::invalid_argument);
}

TEST_CASE("connecting to a Unix listener whose queue is full waits for room") {
  const std::string path = (std::filesystem::temp_directory_path() / "s").string();
  UnixListener listener = UnixListener::bind({.backlog = 0}, path);
  run([&]() -> Task<> {
    const support::Peer first = connect_unix(path, false);
    Future<void> second = spawn(connect_and_drop(path));
    co_await sleep(std::chrono::milliseconds(10));
    CHECK(!second.done());
    static_cast<void>(co_await listener.accept());
    co_await second;
  });
}

TEST_CASE("a Unix peer that is gone with something unread is ECONNRESET for a reader, and EPIPE for a writer") {
  const std::string path = (std::filesystem::temp_directory_path() / "s").string();
  UnixListener listener = UnixListener::bind(path);
  run([&]() -> Task<> {
    support::Peer peer = connect_unix(path, false);
    UnixStream stream = co_await listener.accept();
    co_await stream.write("unread");
    const auto read = [](UnixStream& from) -> Task<> { static_cast<void>(co_await from.read_line()); };
    Future<void> reader = spawn(read(stream));
    co_await turns(2);
    peer.close();
    int error = co_await support::error_of(std::move(reader));
    CHECK(error == ECONNRESET);
    error = co_await support::error_of(stream.write("x"));
    CHECK(error == EPIPE);
  });
}
