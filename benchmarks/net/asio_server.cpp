// Asio's coroutines: Boost's, or the one without it.
#include "servers.hpp"

#include <utility>  // Boost 1.81 misses it

#if defined(BENCHMARK_ASIO)
#include <asio.hpp>
#elif defined(BENCHMARK_BOOST_ASIO)
#include <boost/asio.hpp>
#endif

// Older ones do not know that every compiler has coroutines.
#if defined(ASIO_HAS_CO_AWAIT) || defined(BOOST_ASIO_HAS_CO_AWAIT)

#include <vector>

namespace bench {

namespace {

#ifndef BENCHMARK_ASIO
namespace asio = boost::asio;
#endif
using Tcp = asio::ip::tcp;

asio::awaitable<void> echo(Tcp::socket socket, std::size_t size) {
  std::vector<char> buffer(size);
  socket.set_option(Tcp::no_delay(true));
  try {
    while (true) {
      const std::size_t count = co_await socket.async_read_some(asio::buffer(buffer), asio::use_awaitable);
      co_await asio::async_write(socket, asio::buffer(buffer.data(), count), asio::use_awaitable);
    }
  } catch (const std::exception&) {
    // The end of the stream.
  }
}

asio::awaitable<void> accept(Tcp::acceptor listener, std::size_t size) {
  while (true) {
    Tcp::socket client = co_await listener.async_accept(asio::use_awaitable);
    asio::co_spawn(listener.get_executor(), echo(std::move(client), size), asio::detached);
  }
}

void serve_with_asio(int listener, std::size_t size) {
  asio::io_context context(1);
  asio::co_spawn(context, accept(Tcp::acceptor(context, Tcp::v4(), listener), size), asio::detached);
  context.run();
}

}  // namespace

Server server_with_asio() { return &serve_with_asio; }

}  // namespace bench

#else

namespace bench {
Server server_with_asio() { return nullptr; }
}  // namespace bench

#endif
