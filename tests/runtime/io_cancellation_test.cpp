// Every operation that can wait for the outside world, cancelled and destroyed in every state. Those on files, which
// threads execute: file_cancellation_test.cpp; TCP connections to several addresses: happy_eyeballs_test.cpp.
#include <signal.h>
#include <stdlib.h>

#include <cofork/runtime/poll.hpp>
#include <cofork/runtime/resolve.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/signals.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/standard_streams.hpp>
#include <cofork/runtime/subprocess.hpp>
#include <cofork/runtime/tcp.hpp>
#include <cofork/runtime/udp_socket.hpp>
#include <cofork/runtime/unix_socket.hpp>
#include <cofork/runtime/watch.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::Started;
using support::turns;

namespace {

const std::string much(32'000'000, 'x');

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

/// A pipe that nobody writes to is our standard input.
struct SilentInput {
  SilentInput() { ::dup2(pipe.stream.native_handle(), 0); }
  ~SilentInput() { ::dup2(before.get(), 0); }
  SilentInput(const SilentInput&) = delete;
  SilentInput& operator=(const SilentInput&) = delete;

  support::Peer before{::fcntl(0, F_DUPFD_CLOEXEC, 3)};
  support::Ends pipe = support::pipe_to_stream();
};

support::Peer open_terminal() {
  support::Peer controller(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (::grantpt(controller.get()) < 0 || ::unlockpt(controller.get()) < 0) support::fail("unlockpt");
  return controller;
}

support::Peer full_socket(const support::Ends& pair) {
  while (::send(pair.peer.get(), much.data(), 10000, MSG_DONTWAIT) > 0) continue;
  return support::Peer(::fcntl(pair.peer.get(), F_DUPFD_CLOEXEC, 3));
}

/// Peers that are there, and say and take nothing.
struct Silence {
  std::string path = (std::filesystem::temp_directory_path() / "silence").string();
  std::string buffer = std::string(100, '\0');
  support::Ends socket = support::socket_pair(), from_pipe = support::pipe_to_stream(),
                to_pipe = support::pipe_from_stream(), clogged = support::socket_pair();
  support::Peer controller = open_terminal();
  ByteStream terminal = ByteStream::adopt(::open(::ptsname(controller.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  support::Listening server = support::listen_at_loopback(0);
  TcpStream tcp = TcpStream::adopt(::dup(support::connect_to_queue_of(server).get()));  // fills the server's queue
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  UnixListener unix_listener = UnixListener::bind({.backlog = 0}, path);
  UdpSocket udp = UdpSocket::bind("127.0.0.1", 0);
  support::Peer full = full_socket(clogged);
  Poll readable{socket.peer.get()}, writable{full.get()};
  Stream<FileChange> changes = watch(std::filesystem::temp_directory_path());
  Stream<int> usr2 = signals({SIGUSR2});
  Subprocess program = Subprocess::start({"sleep", "1000"}, {.in = Stdio::pipe, .out = Stdio::pipe});
  SilentInput input;
  ByteStream standard = stdin_stream();

  std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(buffer)); }
};

template <class A>
Task<> drop(A awaitable) {
  (void)co_await std::move(awaitable);
}

Task<> connect_twice(std::string path) {
  const UnixStream fills_the_queue = co_await UnixStream::connect(path);
  (void)co_await UnixStream::connect(std::move(path));
}

struct Operation {
  const char* name;
  Task<> (*start)(Silence&);
  bool looks_up = false;  // a name: that may fail by itself, and its thread ends later and has files of its own
};

const std::vector<Operation> operations{
    {"read_some", [](Silence& from) { return drop(from.socket.stream.read_some(from.bytes())); }},
    {"read_exactly", [](Silence& from) { return drop<Task<>>(from.tcp.read_exactly(from.bytes())); }},
    {"read_until", [](Silence& from) { return drop(from.from_pipe.stream.read_until(';')); }},
    {"read_line of a terminal", [](Silence& from) { return drop(from.terminal.read_line()); }},
    {"read_line of the standard input", [](Silence& from) { return drop(from.standard.read_line()); }},
    {"write to a socket", [](Silence& to) { return drop<Task<>>(to.socket.stream.write(much)); }},
    {"write to a connection", [](Silence& to) { return drop<Task<>>(to.tcp.write("some", much)); }},
    {"write to a pipe", [](Silence& to) { return drop<Task<>>(to.to_pipe.stream.write(much)); }},
    {"accept", [](Silence& from) { return drop(from.listener.accept()); }},
    {"accept at a Unix listener", [](Silence& from) { return drop(from.unix_listener.accept()); }},
    {"connect", [](Silence& to) { return drop(TcpStream::connect("127.0.0.1", to.server.port)); }},
    {"connect to a Unix listener", [](Silence& to) { return connect_twice(to.path); }},
    {"resolve", [](Silence&) { return drop(resolve("no such host")); }, true},
    {"recv_from", [](Silence& from) { return drop(from.udp.recv_from()); }},
    {"send_to a name", [](Silence& from) { return drop(from.udp.send_to("x", "no such host", 9)); }, true},
    {"readable", [](Silence& from) { return drop<Task<>>(from.readable.readable()); }},
    {"writable", [](Silence& to) { return drop<Task<>>(to.writable.writable()); }},
    {"a change of a file", [](Silence& from) { return drop<Task<std::optional<FileChange>>>(from.changes.next()); }},
    {"a signal", [](Silence& from) { return drop<Task<std::optional<int>>>(from.usr2.next()); }},
    {"the end of a program", [](Silence& from) { return drop<Task<int>>(from.program.wait()); }},
    {"communicate", [](Silence& with) { return drop(with.program.communicate(much)); }},
};

enum class When { already, at_once, after_some_turns, after_a_while };

Task<> observe(Task<> operation, When when, bool& was_cancelled) {
  try {
    if (when == When::already) co_await sleep(1h);
  } catch (const CancelledError&) {
  }
  try {
    co_await std::move(operation);
  } catch (const CancelledError&) {
    was_cancelled = true;
  }
}

Task<> until(When when) {
  if (when == When::after_some_turns) co_await turns(3);
  if (when == When::after_a_while) co_await sleep(3ms);
}

}  // namespace

TEST_CASE("every operation that waits for the outside can be cancelled in every state and leaves nothing") {
  for (const Operation& operation : operations) {
    for (const When when : {When::already, When::at_once, When::after_some_turns, When::after_a_while}) {
      INFO(operation.name << ", state " << static_cast<int>(when));
      const auto at_first = open_descriptors();
      run([&]() -> Task<> {
        Silence silence;
        co_await sleep(0ns);
        const auto before = open_descriptors();
        bool was_cancelled = false;
        Started waiting(observe(operation.start(silence), when, was_cancelled));
        co_await until(when);
        waiting.cancel();
        while (!waiting.ended()) co_await turns(1);
        CHECK((was_cancelled || operation.looks_up));
        const auto closed = [&] { return open_descriptors() <= before; };
        CHECK((closed() || (operation.looks_up && support::eventually(closed))));
      });
      CHECK(open_descriptors() == at_first);
    }
  }
}

TEST_CASE("a coroutine can be destroyed in every operation that waits for the outside and leaves nothing") {
  for (const Operation& operation : operations) {
    for (const When when : {When::at_once, When::after_some_turns, When::after_a_while}) {
      INFO(operation.name << ", state " << static_cast<int>(when));
      const auto at_first = open_descriptors();
      run([&]() -> Task<> {
        Silence silence;
        co_await sleep(0ns);
        bool was_cancelled = false;
        Started waiting(observe(operation.start(silence), when, was_cancelled));
        co_await until(when);
        CHECK((!waiting.ended() || operation.looks_up));
        if (!waiting.ended()) waiting.destroy();
        co_await turns(3);
        CHECK(!was_cancelled);
      });
      CHECK(open_descriptors() == at_first);
    }
  }
}
