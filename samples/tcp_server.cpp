// A server that upper-cases what its clients say, each client in a process of its own. Ctrl-C stops it.
//
//     tcp_server [PORT]            any free port by default; it prints which
//     tcp_client PORT [WORD...]    in another terminal
#include <algorithm>
#include <cctype>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>
#include <list>

// In the child: a crash here ends this client's connection and nothing else.
cofork::Task<> serve(cofork::TcpStream client) {
  while (auto line = co_await client.read_line()) {
    for (char& letter : *line) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    co_await client.write(*line, "\n");
  }
}

cofork::Task<> accept_clients(std::uint16_t port) {
  cofork::TcpListener listener = cofork::TcpListener::bind("127.0.0.1", port);
  std::printf("listening at port %d\n", listener.port());
  std::fflush(stdout);

  std::list<cofork::Process> clients;
  while (true) {
    cofork::TcpStream client = co_await listener.accept();
    std::erase_if(clients, [](cofork::Process& process) { return !process.is_alive(); });
    clients.emplace_back(cofork::ProcessOptions{.daemon = true}, serve, std::move(client)).start();
  }
}

int main(int argc, char** argv) {
  try {
    cofork::run(accept_clients(argc > 1 ? static_cast<std::uint16_t>(std::atoi(argv[1])) : std::uint16_t{0}));
  } catch (const cofork::KeyboardInterrupt&) {
    std::printf("stopped\n");
  }
}
