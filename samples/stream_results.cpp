// A worker that sends partial results, and a parent that stops it once they are good enough. A function that returns a
// Stream gives a Stream from the pool; this one has no end. Closing the stream ends it in the worker at its next
// co_yield, and the worker then goes on with the next task, unless that takes longer than the grace.
#include <unistd.h>

#include <cmath>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <random>

using namespace std::chrono_literals;

struct Estimate {
  double pi;
  long points;
};

// Throws points at a square and counts those that land in the quarter of a circle: better and better, for ever.
cofork::Stream<Estimate> estimate_pi(unsigned seed) {
  std::mt19937_64 random(seed);
  long inside = 0;
  for (long points = 1;; ++points) {
    const double x = std::ldexp(random(), -64), y = std::ldexp(random(), -64);
    inside += x * x + y * y < 1;
    if (points % 500'000 == 0) co_yield Estimate{4.0 * inside / points, points};
  }
}

cofork::Task<> stop_early() {
  cofork::ProcessPoolExecutor pool(1);
  const pid_t worker = co_await pool.submit(getpid);

  auto estimates = pool.submit({.grace = 1min}, estimate_pi, 3);
  while (auto estimate = co_await estimates.next()) {
    const double uncertainty = 1.64 / std::sqrt(estimate->points);
    std::printf("%.4f, give or take %.4f\n", estimate->pi, uncertainty);
    if (uncertainty < 0.001) break;
  }
  estimates.close();

  const pid_t afterwards = co_await pool.submit(getpid);
  std::printf("good enough; the worker %s\n", afterwards == worker ? "goes on" : "was replaced");
}

int main() { cofork::run(stop_early()); }
