#include <cofork/executors/process.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/ipc/connect.hpp>
#include <cofork/ipc/listener.hpp>
#include <cofork/ipc/queue.hpp>
#include <cofork/ipc/stream_codec.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;

namespace {

Task<> shout(ByteStream& stream) {
  while (auto line = co_await stream.read_line()) {
    for (char& letter : *line) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    co_await stream.write(*line, "\n");
  }
}

Task<> serve(TcpStream stream) { co_await shout(stream); }

Task<> serve_one(TcpListener& listener) {
  TcpStream stream = co_await listener.accept();
  co_await shout(stream);
}

int shout_in_worker(TcpStream stream) {
  run(shout(stream));
  return 7;
}

std::string ask(const support::Peer& peer, const std::string& question) {
  peer.write(question + "\n");
  return peer.read(question.size() + 1);
}

}  // namespace

TEST_CASE("an accepted connection is given to a Process, with what was read ahead, and ends with it") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    const support::Peer peer = support::connect_to(listener.port());
    TcpStream stream = co_await listener.accept();
    peer.write("first\nsecond\n");
    const auto line = co_await stream.read_line();
    CHECK(line == "first");
    Process process(serve, std::move(stream));
    process.start();
    CHECK(peer.read(7) == "SECOND\n");
    CHECK(ask(peer, "third") == "THIRD\n");
    peer.shutdown_write();
    co_await process.join();
    CHECK(process.exitcode() == 0);
    CHECK(peer.read(1).empty());
  });
}

TEST_CASE("a listener that a Process captured accepts there") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    const auto target = [&listener]() -> Task<> { return serve_one(listener); };
    Process process(target);
    process.start();
    const support::Peer peer = support::connect_to(listener.port());
    CHECK(ask(peer, "hello") == "HELLO\n");
    peer.shutdown_write();
    co_await process.join();
    CHECK(process.exitcode() == 0);
  });
}

TEST_CASE("the file of a Unix listener that is moved into a Process stays until that has ended, however it does") {
  const std::string path = (std::filesystem::temp_directory_path() / "moved").string();
  run([&]() -> Task<> {
    const auto greet = [](UnixListener listener) -> Task<> {
      UnixStream client = co_await listener.accept();
      co_await client.write("hello\n");
      co_await sleep(1h);
    };
    Process process(greet, UnixListener::bind(path));
    process.start();
    UnixStream stream = co_await UnixStream::connect(path);
    const auto line = co_await stream.read_line();
    CHECK(line == "hello");
    CHECK(std::filesystem::exists(path));
    process.kill();
    co_await process.join();
    CHECK_FALSE(std::filesystem::exists(path));
  });
}

TEST_CASE("the file of a listener for messages that is moved into a Process stays until that has ended") {
  const std::string path = (std::filesystem::temp_directory_path() / "messages").string();
  run([&]() -> Task<> {
    const auto greet = [](ipc::Listener listener) -> Task<> {
      ipc::Connection<int> client = co_await listener.accept<int>();
      co_await client.send(5);
    };
    Process process(greet, ipc::Listener::bind(path));
    process.start();
    ipc::Connection<int> connection = co_await ipc::connect<int>(path);
    const int received = co_await connection.recv();
    CHECK(received == 5);
    co_await process.join();
    CHECK_FALSE(std::filesystem::exists(path));
  });
}

TEST_CASE("a Unix listener that is moved into a pool's call accepts there, and its file is removed there") {
  const std::string path = (std::filesystem::temp_directory_path() / "sent").string();
  run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    const auto greet = [](UnixListener listener) -> Task<> {
      UnixStream client = co_await listener.accept();
      co_await client.write("hello\n");
    };
    Future<void> greeting = pool.submit(greet, UnixListener::bind(path));
    UnixStream stream = co_await UnixStream::connect(path);
    const auto line = co_await stream.read_line();
    CHECK(line == "hello");
    co_await greeting;
    CHECK(support::eventually([&] { return !std::filesystem::exists(path); }));
  });
}

TEST_CASE("a stream that a Process was not given is closed there, and says so") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  static TcpListener* somewhere;
  somewhere = &listener;
  run([&]() -> Task<> {
    const int descriptor = listener.native_handle();
    Process process([descriptor] {
      const bool open = ::fcntl(descriptor, F_GETFD) >= 0;
      bool refused = false;
      try {
        static_cast<void>(somewhere->accept());
      } catch (const std::logic_error&) {
        refused = true;
      }
      std::exit(!open && refused ? 0 : 5);
    });
    process.start();
    co_await process.join();
    CHECK(process.exitcode() == 0);
  });
}

TEST_CASE("what is moved into a pool's call is closed here as soon as it is sent") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    // The first is encoded at once, the second one waits for the worker.
    std::vector<support::Peer> peers;
    std::vector<Future<int>> futures;
    std::vector<TcpStream> streams;
    for (int i = 0; i < 2; ++i) {
      peers.push_back(support::connect_to(listener.port()));
      streams.push_back(co_await listener.accept());
      futures.push_back(pool.submit(shout_in_worker, std::move(streams.back())));
      CHECK(streams.back().closed());
    }
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(ask(peers[i], "question") == "QUESTION\n");
      peers[i].shutdown_write();
      const int result = co_await futures[i];
      CHECK(result == 7);
      CHECK(peers[i].read(1).empty());  // the end: nobody else has it open
    }
    co_await pool.shutdown();
  });
}

TEST_CASE("a call takes what owns something, and nothing else, from its caller") {
  run([]() -> Task<> {
    ProcessPoolExecutor pool(1);
    auto number = std::make_unique<int>(5);
    const auto const_text = std::make_shared<const std::string>("unchanged");
    const auto use = [](std::unique_ptr<int> value, const std::string& text) {
      return *value + static_cast<int>(text.size());
    };
    Future<int> future = pool.submit(use, std::move(number), std::move(*const_text));
    CHECK(number == nullptr);
    CHECK(*const_text == "unchanged");
    const int result = co_await future;
    CHECK(result == 14);
    co_await pool.shutdown();
  });
}

TEST_CASE("a stream in which a write was cut off is of no use for writing where it was sent, either") {
  run([]() -> Task<> {
    auto [stream, peer] = support::socket_pair();
    const std::string much(10000000, 'x');
    const bool late = co_await support::throws<TimeoutError>(wait_for(stream.write(much), 1ms));
    CHECK(late);
    ipc::Queue<ByteStream> queue;
    co_await queue.put(std::move(stream));
    ByteStream received = co_await queue.get();
    const int error = co_await support::error_of(received.write("y"));
    CHECK(error == EPIPE);
    peer.write("z\n");
    const auto line = co_await received.read_line();
    CHECK(line == "z");
  });
}

TEST_CASE("an accepted connection goes to a pool's worker, and through a queue") {
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  run([&]() -> Task<> {
    ProcessPoolExecutor pool(1);
    {
      const support::Peer peer = support::connect_to(listener.port());
      TcpStream stream = co_await listener.accept();
      peer.write("first\nsecond\n");
      const auto line = co_await stream.read_line();
      CHECK(line == "first");
      Future<int> future = pool.submit(shout_in_worker, std::move(stream));
      CHECK(stream.closed());
      peer.shutdown_write();
      const int result = co_await std::move(future);
      CHECK(result == 7);
      CHECK(peer.read(100) == "SECOND\n");
    }
    {
      const support::Peer peer = support::connect_to(listener.port());
      TcpStream stream = co_await listener.accept();
      ipc::Queue<TcpStream> queue;
      co_await queue.put(std::move(stream));
      TcpStream received = co_await queue.get();
      peer.write("x\n");
      const auto line = co_await received.read_line();
      CHECK(line == "x");
    }
    co_await pool.shutdown();
  });
}
