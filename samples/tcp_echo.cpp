// A server that sends every client's bytes back, and a client of it, in one program.
#include <array>
#include <cofork/cofork.hpp>
#include <cstdio>

cofork::Task<> echo(cofork::TcpStream client) {
  std::array<std::byte, 4096> buffer;
  while (const std::size_t count = co_await client.read_some(buffer))
    co_await client.write(std::span<const std::byte>(buffer.data(), count));
}

cofork::Task<> serve(cofork::TcpListener& listener, cofork::TaskGroup& clients) {
  while (true) {
    cofork::TcpStream client = co_await listener.accept();
    clients.spawn(echo(std::move(client)));
  }
}

cofork::Task<> ask(std::uint16_t port) {
  cofork::TcpStream server = co_await cofork::TcpStream::connect("127.0.0.1", port);
  co_await server.write("hello\n", "and again\n");
  co_await server.shutdown_write();
  while (auto line = co_await server.read_line()) std::printf("the server says: %s\n", line->c_str());
}

cofork::Task<> converse(cofork::TcpListener& listener, cofork::TaskGroup& group) {
  cofork::Future<void> server = group.spawn(serve(listener, group));
  co_await ask(listener.port());
  server.cancel();
  try {
    co_await server;
  } catch (const cofork::CancelledError&) {
    std::printf("the server has stopped\n");
  }
}

cofork::Task<> serve_and_ask() {
  cofork::TcpListener listener = cofork::TcpListener::bind("127.0.0.1", 0);  // it outlives the group's tasks
  const auto body = [&listener](cofork::TaskGroup& group) { return converse(listener, group); };
  co_await cofork::with_task_group(body);
}

int main() { cofork::run(serve_and_ask()); }
