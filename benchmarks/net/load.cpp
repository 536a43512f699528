#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "compare.hpp"
#include "load.hpp"

namespace bench {

namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

int connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) fail("socket");
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) fail("connect");
  const int on = 1;
  if (setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) fail("setsockopt");
  return socket;
}

class Clients {
 public:
  Clients(std::uint16_t port, const Load& load) : request_(load.bytes, 'x'), answer_(load.bytes) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) fail("epoll_create1");
    for (unsigned i = 0; i < load.connections; ++i) {
      clients_.push_back({connect_to(port), 0});
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.u32 = i;
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, clients_[i].socket, &event) < 0) fail("epoll_ctl");
    }
  }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;
  ~Clients() {
    for (const Client& client : clients_) close(client.socket);
    close(epoll_);
  }

  void start() {
    for (Client& client : clients_) send_request(client);
  }
  /// How many answers were complete after `seconds`.
  std::uint64_t work(double seconds) {
    const Clock::time_point begin = Clock::now();
    std::uint64_t answers = 0;
    std::array<epoll_event, 256> events;
    while (seconds_since(begin) < seconds) {
      const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 1000);
      if (ready == 0) throw std::runtime_error("the server does not answer");
      for (int i = 0; i < ready; ++i) answers += receive(clients_[events[static_cast<std::size_t>(i)].data.u32]);
    }
    return answers;
  }

 private:
  struct Client {
    int socket;
    std::size_t received;
  };

  void send_request(Client& client) {
    if (send(client.socket, request_.data(), request_.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request_.size()))
      fail("send");
  }
  std::uint64_t receive(Client& client) {
    const ssize_t size = recv(client.socket, answer_.data(), answer_.size() - client.received, 0);
    if (size <= 0) fail("recv");
    client.received += static_cast<std::size_t>(size);
    if (client.received < answer_.size()) return 0;
    client.received = 0;
    send_request(client);
    return 1;
  }

  std::vector<char> request_, answer_;
  std::vector<Client> clients_;
  int epoll_ = -1;
};

}  // namespace

double requests_per_second(std::uint16_t port, const Load& load) {
  Clients clients(port, load);
  clients.start();
  clients.work(load.seconds / 5);
  const Clock::time_point begin = Clock::now();
  const std::uint64_t answers = clients.work(load.seconds);
  return static_cast<double>(answers) / seconds_since(begin);
}

}  // namespace bench
