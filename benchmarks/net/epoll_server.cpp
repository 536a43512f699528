// The limit: epoll by hand.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <vector>

#include "servers.hpp"

namespace bench {

namespace {

void watch(int epoll, int socket) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = socket;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) < 0) throw std::runtime_error("epoll_ctl");
}

/// False at the end.
bool echo(int socket, std::vector<char>& buffer) {
  const ssize_t size = recv(socket, buffer.data(), buffer.size(), 0);
  if (size < 0 && errno == EAGAIN) return true;
  if (size <= 0) return false;
  // A peer of this benchmark has room for all that it sent.
  return send(socket, buffer.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) == size;
}

}  // namespace

void serve_with_epoll(int listener, std::size_t size) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener);
  std::vector<char> buffer(size);
  std::array<epoll_event, 1024> events;
  while (true) {
    const int ready = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < ready; ++i) {
      const int socket = events[static_cast<std::size_t>(i)].data.fd;
      if (socket == listener) {
        const int on = 1, accepted = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) continue;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(epoll, accepted);
      } else if (!echo(socket, buffer)) {
        close(socket);
      }
    }
  }
}

}  // namespace bench
