#include <cofork/cofork.hpp>

#include <vector>

cofork::Task<int> sum_of_squares() {
  cofork::ProcessPoolExecutor pool(2);
  const std::vector<int> numbers = {1, 2, 3};
  auto squares = pool.map([](int x) { return x * x; }, numbers);
  int sum = 0;
  while (auto square = co_await squares.next()) sum += *square;
  co_await pool.shutdown();
  co_return sum;
}

int main() { return cofork::run(sum_of_squares()) == 14 ? 0 : 1; }
