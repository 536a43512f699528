// A server whose workers are forked beforehand and accept at the same socket, each serving any number of clients. Every
// answer says which worker gave it. Ctrl-C stops it.
//
//     prefork_server [PORT]        any free port by default; it prints which
//     tcp_client PORT [WORD...]    in another terminal
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <string>

cofork::Task<> serve(cofork::TcpStream client) {
  const std::string name = cofork::current_process().name;
  while (auto line = co_await client.read_line()) co_await client.write(*line, " from ", name, "\n");
}

cofork::Task<> accept_clients(cofork::TcpListener& listener, cofork::TaskGroup& clients) {
  while (true) {
    cofork::TcpStream client = co_await listener.accept();
    clients.spawn(serve(std::move(client)));
  }
}

cofork::Task<> work(cofork::TcpListener& listener) {
  const auto body = [&listener](cofork::TaskGroup& clients) { return accept_clients(listener, clients); };
  co_await cofork::with_task_group(body);
}

cofork::Task<> supervise(std::uint16_t port) {
  cofork::TcpListener listener = cofork::TcpListener::bind("127.0.0.1", port);
  std::printf("listening at port %d\n", listener.port());
  std::fflush(stdout);

  std::list<cofork::Process> workers;
  for (unsigned i = 0; i < 2; ++i)
    workers.emplace_back(cofork::ProcessOptions{.daemon = true}, [&listener] { return work(listener); }).start();
  for (cofork::Process& worker : workers) co_await worker.join();
}

int main(int argc, char** argv) {
  try {
    cofork::run(supervise(argc > 1 ? static_cast<std::uint16_t>(std::atoi(argv[1])) : std::uint16_t{0}));
  } catch (const cofork::KeyboardInterrupt&) {
    std::printf("stopped\n");
  }
}
