// This library.
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/tcp.hpp>
#include <vector>

#include "servers.hpp"

namespace bench {

namespace {

cofork::Task<> echo(cofork::TcpStream stream, std::size_t size) {
  std::vector<std::byte> buffer(size);
  while (const std::size_t count = co_await stream.read_some(buffer))
    co_await stream.write(std::span<const std::byte>(buffer.data(), count));
}

cofork::Task<> serve(int listener, std::size_t size) {
  cofork::TcpListener clients = cofork::TcpListener::adopt(listener);
  while (true) {
    cofork::TcpStream client = co_await clients.accept();
    static_cast<void>(cofork::spawn(echo(std::move(client), size)));
  }
}

}  // namespace

void serve_with_cofork(int listener, std::size_t buffer) { cofork::run(serve(listener, buffer)); }

}  // namespace bench
