// A semaphore lets two of five processes work at a time, an event starts them, and the permit of one that is killed
// comes back.
#include <unistd.h>

#include <atomic>
#include <cofork/executors/process.hpp>
#include <cofork/ipc/event.hpp>
#include <cofork/ipc/semaphore.hpp>
#include <cofork/ipc/value.hpp>
#include <cofork/runtime/run.hpp>
#include <cstdio>
#include <vector>

using cofork::Process;
namespace ipc = cofork::ipc;

int main() {
  const ipc::BoundedSemaphore places(2);
  const ipc::Event begin;
  const ipc::RawValue<std::atomic<int>> inside;
  const ipc::RawValue<std::atomic<bool>> crowded;

  std::vector<Process> processes;
  for (int i = 0; i < 5; ++i) {
    processes.emplace_back([=]() -> cofork::Task<> {
      co_await begin.wait();
      const ipc::LockGuard place = co_await places.acquire();
      if (++*inside > 2) *crowded = true;
      --*inside;
    });
    processes.back().start();
  }
  begin.set();
  for (Process& process : processes) process.blocking_join();
  std::printf("never more than two inside: %s\n", *crowded ? "no" : "yes");

  const ipc::Event taken;
  Process doomed([=] {
    const ipc::LockGuard place = places.blocking_acquire();
    taken.set();
    for (;;) ::pause();
  });
  doomed.start();
  taken.blocking_wait();
  std::printf("places left: %u\n", places.value());
  doomed.kill();
  doomed.blocking_join();
  std::printf("after its death: %u\n", places.value());
}
