// Two child processes: who they are, whether they run, and how they ended.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>

void work(int number) {
  const cofork::ProcessInfo self = cofork::current_process();
  const cofork::ProcessInfo parent = *cofork::parent_process();
  std::printf("%s: pid %d, a child of %s with pid %d\n", self.name.c_str(), self.pid, parent.name.c_str(), parent.pid);
  std::exit(number);  // or return, which is 0
}

int main() {
  std::printf("%s: pid %d\n", cofork::current_process().name.c_str(), cofork::current_process().pid);

  cofork::Process first(work, 1);
  cofork::Process second({.name = "the second"}, work, 2);
  std::printf("before start: alive %d and %d\n", first.is_alive(), second.is_alive());

  first.start();
  second.start();
  std::printf("started: pids %d and %d\n", first.pid(), second.pid());

  first.blocking_join();
  second.blocking_join();
  std::printf("after join: alive %d and %d\n", first.is_alive(), second.is_alive());
  std::printf("exit codes: %d and %d\n", *first.exitcode(), *second.exitcode());
}
