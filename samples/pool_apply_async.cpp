// A pool of three processes, ten tasks whose results are collected as they come, and an orderly end: Pool.apply_async,
// close and join, as the tutorials of multiprocessing show them.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <string>

std::string work(int number) {
  long sum = 0;
  for (int i = 1; i <= number; ++i) sum += i;
  return "task " + std::to_string(number) + ": " + std::to_string(sum);
}

cofork::Task<> run_tasks() {
  cofork::Pool pool(3);
  std::vector<cofork::Future<std::string>> results;
  for (int number = 0; number < 10; ++number) results.push_back(pool.apply_async(work, number));
  pool.close();          // no new tasks
  co_await pool.join();  // all that were given have ended, and so have the processes
  for (auto& result : results) std::puts(result.result().c_str());
}

int main() { cofork::run(run_tasks()); }
