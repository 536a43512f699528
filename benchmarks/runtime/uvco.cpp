// The same with uvco.
#include "micro.hpp"

#ifdef BENCHMARK_UVCO

#include <uvco/combinators.h>
#include <uvco/promise/promise.h>
#include <uvco/run.h>

#include "coroutines.hpp"

namespace bench {

namespace {

using uvco::Promise;

struct Yield {
  static auto turn() { return uvco::yield(); }
};

template <class Make>
double run(const Work& work, std::size_t each, Make make) {
  return uvco::runMain<double>([&](const uvco::Loop&) { return batches_of<Promise<double>>(work, each, make); });
}

double measure_leaves(const Work& work) { return run(work, leaves, await_leaves<Promise<int>>); }

double measure_chain(const Work& work) {
  return run(work, depth, [] { return chain<Promise<int>>(depth); });
}

double measure_waiting_chain(const Work& work) {
  return run(work, depth, [] { return waiting_chain<Promise<int>, Yield>(depth); });
}

Promise<double> all_turns(Work work) {
  Turns turns;
  std::vector<Promise<double>> others;
  for (std::size_t i = 1; i < work.count; ++i) others.push_back(other_turns<Promise<double>, Yield>(turns, i));
  const double nanoseconds = co_await measured_turns<Promise<double>, Yield>(turns, work);
  for (const Promise<double>& other : others) co_await other;
  co_return nanoseconds;
}

double measure_yields(const Work& work) {
  return uvco::runMain<double>([&](const uvco::Loop&) { return all_turns(work); });
}

Promise<std::size_t> spawn_all(std::size_t count) {
  std::vector<Promise<int>> promises;
  for (std::size_t i = 0; i != count; ++i) promises.push_back(leaf<Promise<int>>(1));
  std::size_t sum = 0;
  for (const Promise<int>& promise : promises) {
    const int value = co_await promise;
    sum += static_cast<std::size_t>(value);
  }
  co_return sum;
}

double measure_spawn_all(const Work& work) {
  return run(work, work.count, [count = work.count] { return spawn_all(count); });
}

}  // namespace

Measures measures_of_uvco() {
  Measures all;
  all.leaf = measure_leaves;
  all.chain = measure_chain;
  all.waiting_chain = measure_waiting_chain;
  all.yields = measure_yields;
  all.spawn_all = measure_spawn_all;
  return all;
}

}  // namespace bench

#else

namespace bench {
Measures measures_of_uvco() { return {}; }
}  // namespace bench

#endif
