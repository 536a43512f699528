// The servers: each sends back what it gets, on one thread, until it is killed.
#pragma once

#include <cstddef>

namespace bench {

/// `listener` is a TCP socket that listens and does not block; `buffer` is how much is read at once.
using Server = void (*)(int listener, std::size_t buffer);

void serve_with_epoll(int listener, std::size_t buffer);
void serve_with_libuv(int listener, std::size_t buffer);
void serve_with_cofork(int listener, std::size_t buffer);
/// Null where Asio is not installed.
Server server_with_asio();

}  // namespace bench
