// net [--quick] [--rounds N] [echo]
//
// A server that sends back what it gets, with this library, beside the limit (epoll by hand), libuv's callbacks and
// Asio's coroutines, for the same client over the loopback interface. See README.md in the folder above.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>
#include <system_error>

#include "compare.hpp"
#include "load.hpp"
#include "processes.hpp"
#include "program.hpp"
#include "servers.hpp"

namespace bench {

namespace {

struct Port {
  int socket;
  std::uint16_t number;
};

Port listen_somewhere() {
  sockaddr_in address = {};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0 || bind(socket, reinterpret_cast<const sockaddr*>(&address), size) < 0 || listen(socket, 4096) < 0 ||
      getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) < 0)
    throw std::system_error(errno, std::generic_category(), "listen");
  return {socket, ntohs(address.sin_port)};
}

std::optional<double> measure(Server server, const Load& load, int server_cpu, int client_cpu) {
  if (!server) return std::nullopt;
  return in_child([&] {
    const Port port = listen_somewhere();
    const Partner partner([&] {
      pin(server_cpu);
      server(port.socket, 64 * 1024);
    });
    close(port.socket);
    pin(client_cpu);
    return requests_per_second(port.number, load);
  });
}

void raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

void measure_echo(const Settings& settings, const Peer&) {
  raise_descriptor_limit();
  const auto cpus = two_cpus();
  for (const bool apart : {false, true}) {
    if (apart && !cpus) continue;
    const int server_cpu = cpus ? cpus->first : -1;
    const int client_cpu = apart ? cpus->second : server_cpu;
    for (const unsigned connections : {1U, 64U, 1000U}) {
      for (const std::size_t bytes : {std::size_t{64}, std::size_t{16} * 1024}) {
        const Load load = {connections, bytes, settings.quick ? 0.3 : 1.0};
        const auto run = [=](Server server) { return [=] { return measure(server, load, server_cpu, client_cpu); }; };
        Comparison comparison;
        comparison.title = std::to_string(connections) + (connections == 1 ? " connection, " : " connections, ") +
                           std::to_string(bytes) + " bytes, client on " + (apart ? "another CPU" : "the server's CPU");
        comparison.unit = "requests/s";
        comparison.higher_is_better = true;
        comparison.contestants = {
            {"epoll by hand", Contestant::limit, run(serve_with_epoll)},
            {"libuv callbacks", Contestant::other, run(serve_with_libuv)},
            {"Asio coroutines", Contestant::peer, run(server_with_asio())},
            {"cofork", Contestant::cofork, run(serve_with_cofork), {{Aim::times_peer, 1.0}}},
        };
        compare(comparison, settings.rounds);
      }
    }
  }
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) { return bench::run_program(argc, argv, {{"echo", bench::measure_echo}}); }
