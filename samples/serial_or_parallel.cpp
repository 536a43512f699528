// The same work in processes started and joined one by one, and all at once.
#include <chrono>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int count = 5;

// Waits, so that the comparison holds on any number of cores.
cofork::Task<> slow_work(int number) {
  co_await cofork::sleep(100ms);
  std::exit(number);
}

int sum_of_exitcodes(std::vector<cofork::Process>& processes) {
  int sum = 0;
  for (cofork::Process& process : processes) sum += *process.exitcode();
  return sum;
}

cofork::Task<int> one_by_one() {
  std::vector<cofork::Process> processes;
  for (int number = 0; number < count; ++number) {
    processes.emplace_back(slow_work, number);
    processes.back().start();
    co_await processes.back().join();
  }
  co_return sum_of_exitcodes(processes);
}

cofork::Task<int> all_at_once() {
  std::vector<cofork::Process> processes;
  for (int number = 0; number < count; ++number) {
    processes.emplace_back(slow_work, number);
    processes.back().start();
  }
  for (cofork::Process& process : processes) co_await process.join();
  co_return sum_of_exitcodes(processes);
}

template <class F>
double measure(const char* what, F run_all) {
  const Clock::time_point begin = Clock::now();
  const int sum = cofork::run(run_all());
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("%s: %.2f s, sum %d\n", what, seconds, sum);
  return seconds;
}

int main() {
  const double serial = measure("one by one", one_by_one);
  const double parallel = measure("all at once", all_at_once);
  std::printf("%.1f times as fast\n", serial / parallel);
}
