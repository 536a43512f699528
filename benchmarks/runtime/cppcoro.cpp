// The same with cppcoro.
#include "micro.hpp"

#ifdef BENCHMARK_CPPCORO

// It takes this for given with Clang only; g++ has it, too, and its tasks are faster with it.
#define CPPCORO_COMPILER_SUPPORTS_SYMMETRIC_TRANSFER 1

#include <cppcoro/async_scope.hpp>
#include <cppcoro/io_service.hpp>
#include <cppcoro/on_scope_exit.hpp>
#include <cppcoro/schedule_on.hpp>
#include <cppcoro/static_thread_pool.hpp>
#include <cppcoro/sync_wait.hpp>
#include <cppcoro/task.hpp>
#include <cppcoro/when_all.hpp>
#include <optional>
#include <thread>

#include "coroutines.hpp"
#include "deadlines.hpp"
#include "post_load.hpp"

namespace bench {

namespace {

using cppcoro::task;

/// A pool of one thread, which is faster than the loop of an `io_service`.
class Pool {
 public:
  Pool() : pool_(1) { current = &pool_; }
  double run(task<double> main) { return cppcoro::sync_wait(cppcoro::schedule_on(pool_, std::move(main))); }

  static auto turn() { return current->schedule(); }
  static inline cppcoro::static_thread_pool* current = nullptr;

 private:
  cppcoro::static_thread_pool pool_;
};

/// The loop, on the thread that calls `run`. Those of the pool do not take turns: what was scheduled last runs first.
class Service {
 public:
  Service() { current = &service_; }
  double run(task<double> main) {
    return std::get<0>(cppcoro::sync_wait(cppcoro::when_all(stop_after(std::move(main)), process())));
  }

  static auto turn() { return current->schedule(); }
  static inline cppcoro::io_service* current = nullptr;

 private:
  task<double> stop_after(task<double> main) {
    const auto stop = cppcoro::on_scope_exit([this] { service_.stop(); });
    co_return co_await std::move(main);
  }
  task<> process() {
    service_.process_events();
    co_return;
  }
  cppcoro::io_service service_;
};

double measure_leaves(const Work& work) {
  return cppcoro::sync_wait(batches_of<task<double>>(work, leaves, await_leaves<task<int>>));
}

double measure_chain(const Work& work) {
  return cppcoro::sync_wait(batches_of<task<double>>(work, depth, [] { return chain<task<int>>(depth); }));
}

double measure_waiting_chain(const Work& work) {
  return Pool().run(batches_of<task<double>>(work, depth, [] { return waiting_chain<task<int>, Pool>(depth); }));
}

task<double> all_turns(Work work) {
  Turns turns;
  std::vector<task<double>> all;
  all.push_back(measured_turns<task<double>, Service>(turns, work));
  for (std::size_t i = 1; i < work.count; ++i) all.push_back(other_turns<task<double>, Service>(turns, i));
  const std::vector<double> results = co_await cppcoro::when_all(std::move(all));
  co_return results.front();
}

double measure_yields(const Work& work) { return Service().run(all_turns(work)); }

template <class Make>
task<std::size_t> gather(std::size_t count, Make make) {
  std::vector<task<int>> tasks;
  for (std::size_t i = 0; i != count; ++i) tasks.push_back(make());
  const std::vector<int> values = co_await cppcoro::when_all(std::move(tasks));
  std::size_t sum = 0;
  for (const int value : values) sum += static_cast<std::size_t>(value);
  co_return sum;
}

task<int> scheduled_leaf() { return cppcoro::schedule_on(*Pool::current, leaf<task<int>>(1)); }

task<std::size_t> spawn_each(std::size_t count) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i != count; ++i) {
    const int value = co_await scheduled_leaf();
    sum += static_cast<std::size_t>(value);
  }
  co_return sum;
}

double measure_gather(const Work& work) {
  const auto make = [count = work.count] { return gather(count, [] { return leaf<task<int>>(1); }); };
  return cppcoro::sync_wait(batches_of<task<double>>(work, work.count, make));
}

double measure_spawn_all(const Work& work) {
  const auto make = [count = work.count] { return gather(count, scheduled_leaf); };
  return Pool().run(batches_of<task<double>>(work, work.count, make));
}

double measure_spawn_each(const Work& work) {
  const auto make = [count = work.count] { return spawn_each(count); };
  return Pool().run(batches_of<task<double>>(work, work.count, make));
}

task<double> sleep_zero(Work work) {
  Batches batches(work.seconds);
  while (batches.next())
    for (std::size_t i = 0; i != sleeps_of_batch; ++i)
      co_await Service::current->schedule_after(std::chrono::nanoseconds(0));
  co_return 1e3 * batches.microseconds_each(sleeps_of_batch);
}

double measure_sleep_zero(const Work& work) { return Service().run(sleep_zero(work)); }

template <class Function>
task<> posted(cppcoro::io_service& service, Function function) {
  co_await service.schedule();
  function();
}

double measure_round_trip(const Work& work) {
  cppcoro::io_service service;
  cppcoro::async_scope scope;
  double nanoseconds = 0;
  std::thread other([&] {
    nanoseconds = post_round_trips(work, [&](auto function) { scope.spawn(posted(service, function)); });
    service.stop();
  });
  pin(work.cpu);
  service.process_events();
  other.join();
  cppcoro::sync_wait(scope.join());
  return nanoseconds;
}

}  // namespace

Measures measures_of_cppcoro() {
  Measures all;
  all.leaf = measure_leaves;
  all.chain = measure_chain;
  all.waiting_chain = measure_waiting_chain;
  all.yields = measure_yields;
  all.gather = measure_gather;
  all.spawn_all = measure_spawn_all;
  all.spawn_each = measure_spawn_each;
  all.sleep_zero = measure_sleep_zero;
  all.round_trip = measure_round_trip;
  return all;
}

}  // namespace bench

#else

namespace bench {
Measures measures_of_cppcoro() { return {}; }
}  // namespace bench

#endif
