// Pool.apply_async with callbacks: results and errors are told on the loop's thread as they come.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <stdexcept>

int reciprocal_of(int number) {
  if (number == 0) throw std::domain_error("nothing has 0 for its reciprocal");
  return 1000 / number;
}

cofork::Task<> run_tasks() {
  int sum = 0, failures = 0;
  auto on_result = [&](int& thousandths) { sum += thousandths; };
  auto on_error = [&](const std::exception_ptr&) { ++failures; };
  cofork::Pool pool(2);  // after what the callbacks refer to: its end calls those that are left
  for (int number = 0; number < 5; ++number)
    auto detached = pool.apply_async(cofork::AsyncCallbacks(on_result, on_error), reciprocal_of, number);
  pool.close();
  co_await pool.join();
  std::printf("%d thousandths, %d failure\n", sum, failures);
}

int main() { cofork::run(run_tasks()); }
