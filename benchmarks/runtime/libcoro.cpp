// The same with libcoro.
#include "micro.hpp"

#ifdef BENCHMARK_LIBCORO

#include <coro/scheduler.hpp>
#include <coro/sync_wait.hpp>
#include <coro/task.hpp>
#include <coro/thread_pool.hpp>
#include <coro/when_all.hpp>
#include <thread>

#include "coroutines.hpp"
#include "deadlines.hpp"
#include "post_load.hpp"

namespace bench {

namespace {

using coro::task;

/// A pool of one thread, which is faster than the loop of a `scheduler`.
class Pool {
 public:
  Pool() : pool_(coro::thread_pool::make_unique({.thread_count = 1})) { current = pool_.get(); }
  double run(task<double> main) { return coro::sync_wait(pool_->schedule(std::move(main))); }

  static auto turn() { return current->yield(); }
  static inline coro::thread_pool* current = nullptr;

 private:
  std::unique_ptr<coro::thread_pool> pool_;
};

/// The loop, on the thread that calls `run`.
class Scheduler {
 public:
  double run(task<double> main) {
    scheduler_->resume(main.handle());
    while (!main.is_ready()) process();
    return main.promise().result();
  }
  void process() { scheduler_->process_events(std::chrono::seconds(1)); }
  coro::scheduler* operator->() { return scheduler_.get(); }

 private:
  std::unique_ptr<coro::scheduler> scheduler_ =
      coro::scheduler::make_unique({.thread_strategy = coro::scheduler::thread_strategy_t::manual,
                                    .execution_strategy = coro::scheduler::execution_strategy_t::process_tasks_inline});
};

double measure_leaves(const Work& work) {
  return coro::sync_wait(batches_of<task<double>>(work, leaves, await_leaves<task<int>>));
}

double measure_chain(const Work& work) {
  return coro::sync_wait(batches_of<task<double>>(work, depth, [] { return chain<task<int>>(depth); }));
}

double measure_waiting_chain(const Work& work) {
  return Pool().run(batches_of<task<double>>(work, depth, [] { return waiting_chain<task<int>, Pool>(depth); }));
}

task<double> all_turns(Work work) {
  Turns turns;
  std::vector<task<double>> all;
  all.push_back(measured_turns<task<double>, Pool>(turns, work));
  for (std::size_t i = 1; i < work.count; ++i) all.push_back(other_turns<task<double>, Pool>(turns, i));
  const auto results = co_await coro::when_all(std::move(all));
  co_return results.front().return_value();
}

double measure_yields(const Work& work) { return Pool().run(all_turns(work)); }

template <class Make>
task<std::size_t> gather(std::size_t count, Make make) {
  std::vector<task<int>> tasks;
  for (std::size_t i = 0; i != count; ++i) tasks.push_back(make());
  const auto ended = co_await coro::when_all(std::move(tasks));
  std::size_t sum = 0;
  for (const auto& one : ended) sum += static_cast<std::size_t>(one.return_value());
  co_return sum;
}

task<int> scheduled_leaf() { return Pool::current->schedule(leaf<task<int>>(1)); }

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
  return coro::sync_wait(batches_of<task<double>>(work, work.count, make));
}

double measure_spawn_all(const Work& work) {
  const auto make = [count = work.count] { return gather(count, scheduled_leaf); };
  return Pool().run(batches_of<task<double>>(work, work.count, make));
}

double measure_spawn_each(const Work& work) {
  const auto make = [count = work.count] { return spawn_each(count); };
  return Pool().run(batches_of<task<double>>(work, work.count, make));
}

task<double> sleep_zero(Scheduler& scheduler, Work work) {
  Batches batches(work.seconds);
  while (batches.next())
    for (std::size_t i = 0; i != sleeps_of_batch; ++i) co_await scheduler->yield_for(std::chrono::nanoseconds(0));
  co_return 1e3 * batches.microseconds_each(sleeps_of_batch);
}

double measure_sleep_zero(const Work& work) {
  Scheduler scheduler;
  return scheduler.run(sleep_zero(scheduler, work));
}

template <class Function>
task<void> posted(Function function) {
  function();
  co_return;
}

/// `load` in another thread, while this one runs what it posts.
template <class Load>
double measure_posts(const Work& work, Load load) {
  Scheduler scheduler;
  bool over = false;
  double nanoseconds = 0;
  std::thread other([&] {
    const auto post = [&](auto function) { check(scheduler->spawn_detached(posted(function)), "spawn_detached"); };
    nanoseconds = load(post);
    post([&] { over = true; });
  });
  pin(work.cpu);
  while (!over) scheduler.process();
  other.join();
  return nanoseconds;
}

double measure_round_trip(const Work& work) {
  return measure_posts(work, [&](auto post) { return post_round_trips(work, post); });
}

double measure_throughput(const Work& work) {
  return measure_posts(work, [&](auto post) { return post_many(work, post); });
}

}  // namespace

Measures measures_of_libcoro() {
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
  all.throughput = measure_throughput;
  return all;
}

}  // namespace bench

#else

namespace bench {
Measures measures_of_libcoro() { return {}; }
}  // namespace bench

#endif
