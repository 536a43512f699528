// The same code over processes, threads and the caller itself, and work of all three awaited in one call.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <numeric>

long digits(long number) { return number < 10 ? 1 : 1 + digits(number / 10); }

// Where the work is done is the caller's choice.
template <cofork::Executor E>
cofork::Task<long> total_digits(E& executor, const std::vector<long>& numbers) {
  auto results = executor.map(digits, numbers);
  long total = 0;
  while (auto result = co_await results.next()) total += *result;
  co_return total;
}

cofork::Task<> compare() {
  std::vector<long> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), 1);

  cofork::ProcessPoolExecutor processes(2);
  cofork::ThreadPoolExecutor threads(2);
  cofork::InlineExecutor here;
  long by_processes = co_await total_digits(processes, numbers);
  long by_threads = co_await total_digits(threads, numbers);
  long by_caller = co_await total_digits(here, numbers);
  std::printf("%ld = %ld = %ld digits\n", by_processes, by_threads, by_caller);

  // A thread sees the caller's memory.
  auto sum = [&numbers] { return std::accumulate(numbers.begin(), numbers.end(), 0L); };
  auto [a, b] = co_await cofork::gather(processes.submit(digits, 12345), threads.submit(sum));
  std::printf("%ld digits, sum %ld\n", a, b);
}

int main() { cofork::run(compare()); }
