// How processes are made to end: by SIGTERM, by SIGKILL, and with their parent.
#include <unistd.h>

#include <cofork/cofork.hpp>
#include <cstdio>

using namespace std::chrono_literals;

void work_for_ever() {
  while (true) pause();
}

cofork::Task<> stop_processes() {
  cofork::Process first(work_for_ever);
  first.start();
  bool ended = co_await first.join(10ms);
  std::printf("ended by itself: %d\n", ended);
  first.terminate();
  co_await first.join();
  std::printf("after terminate: exit code %d\n", *first.exitcode());

  cofork::Process second(work_for_ever);
  second.start();
  second.kill();
  co_await second.join();
  std::printf("after kill: exit code %d\n", *second.exitcode());
  second.kill();  // nothing: it has ended
}

int main() {
  cofork::run(stop_processes());

  // At the end of main a daemonic process gets SIGTERM; others would be waited for. Were this program killed, the
  // kernel would end both kinds.
  cofork::Process daemon({.name = "heartbeat", .daemon = true}, work_for_ever);
  daemon.start();
  std::printf("%s, pid %d, is alive: %d\n", daemon.name().c_str(), daemon.pid(), daemon.is_alive());
}
