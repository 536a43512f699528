// A counter, an array and a lock that processes share: what reads and then writes is done under the lock.
#include <atomic>
#include <cofork/executors/process.hpp>
#include <cofork/ipc/array.hpp>
#include <cofork/ipc/value.hpp>
#include <cstdio>
#include <span>
#include <vector>

using cofork::Process;
namespace ipc = cofork::ipc;

int main() {
  const ipc::Value<int> counter;                     // with a lock of its own
  const ipc::RawValue<std::atomic<int>> atomic;      // needs none
  const ipc::Array<double> squares(std::size_t{4});  // zero at first

  std::vector<Process> processes;
  for (std::size_t i = 0; i < 4; ++i) {
    processes.emplace_back([=] {
      for (int k = 0; k < 1000; ++k) {
        counter.with_lock([](int& n) { ++n; });
        ++*atomic;
      }
      squares[i] = static_cast<double>(i * i);
    });
    processes.back().start();
  }
  for (Process& process : processes) process.blocking_join();

  std::printf("counter %d, atomic %d\n", counter.get(), atomic->load());
  squares.with_lock([](std::span<double> all) {
    for (const double square : all) std::printf("%g ", square);
    std::printf("\n");
  });

  const ipc::LockGuard guard = counter.get_lock().blocking_acquire();  // several steps under one lock
  counter.set(counter.get() + 1);
  std::printf("counter %d\n", counter.get());
}
