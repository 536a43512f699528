#include <cofork/cofork.hpp>
#include <cstdio>

bool is_prime(unsigned long n) {
  for (unsigned long d = 2; d * d <= n; ++d)
    if (n % d == 0) return false;
  return n > 1;
}

cofork::Task<> count_primes() {
  cofork::ProcessPoolExecutor pool;  // a worker process for every core
  auto answers = pool.map(is_prime, std::views::iota(1'000'000'000ul, 1'000'001'000ul));
  int primes = 0;
  while (auto prime = co_await answers.next()) primes += *prime;
  std::printf("%d primes\n", primes);
}

int main() { cofork::run(count_primes()); }
