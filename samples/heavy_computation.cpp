// Which of some large numbers are prime: heavy computation in worker processes, by ProcessPoolExecutor.map, after the
// example in the documentation of concurrent.futures.
#include <array>
#include <cofork/cofork.hpp>
#include <cstdio>

constexpr std::array<unsigned long, 6> numbers{112272535095293, 112582705942171, 112272535095293,
                                               115280095190773, 115797848077099, 1099726899285419};

bool is_prime(unsigned long n) {
  if (n < 2) return false;
  if (n % 2 == 0) return n == 2;
  for (unsigned long divisor = 3; divisor * divisor <= n; divisor += 2)
    if (n % divisor == 0) return false;
  return true;
}

cofork::Task<> check_numbers() {
  cofork::ProcessPoolExecutor executor;
  auto answers = executor.map(is_prime, numbers);
  for (unsigned long number : numbers) {
    auto prime = co_await answers.next();  // in the order of the numbers, each as soon as it is known
    std::printf("%lu is prime: %s\n", number, *prime ? "true" : "false");
  }
  co_await executor.shutdown();
}

int main() { cofork::run(check_numbers()); }
