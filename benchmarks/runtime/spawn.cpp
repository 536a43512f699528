// Tasks that run beside their maker and are waited for.
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>

#include "bare.hpp"
#include "coroutines.hpp"
#include "measurements.hpp"
#include "micro.hpp"

namespace bench {

namespace {

[[gnu::noinline]] Bare bare_later(int value) {
  keep(value);
  co_await std::suspend_always{};
  co_return value;
}

double bare_all(const Work& work) {
  return nanoseconds_each(work, work.count, [&] {
    std::vector<Bare> tasks;
    for (std::size_t i = 0; i != work.count; ++i) tasks.push_back(bare_later(1));
    for (const Bare& task : tasks) task.handle().resume();
    std::size_t sum = 0;
    for (; !tasks.empty(); tasks.pop_back()) sum += static_cast<std::size_t>(tasks.back().await_resume());
    check(sum == work.count, "tasks");
  });
}

double bare_each(const Work& work) {
  return nanoseconds_each(work, work.count, [&] {
    std::size_t sum = 0;
    for (std::size_t i = 0; i != work.count; ++i) {
      const Bare task = bare_later(1);
      task.handle().resume();
      sum += static_cast<std::size_t>(task.await_resume());
    }
    check(sum == work.count, "tasks");
  });
}

cofork::Task<std::size_t> spawn_all(std::size_t count) {
  std::vector<cofork::Future<int>> futures;
  for (std::size_t i = 0; i != count; ++i) futures.push_back(cofork::spawn(leaf<cofork::Task<int>>(1)));
  std::size_t sum = 0;
  for (cofork::Future<int>& future : futures) {
    const int value = co_await std::move(future);
    sum += static_cast<std::size_t>(value);
  }
  co_return sum;
}

cofork::Task<std::size_t> gather_all(std::size_t count) {
  std::vector<cofork::Task<int>> tasks;
  for (std::size_t i = 0; i != count; ++i) tasks.push_back(leaf<cofork::Task<int>>(1));
  const std::vector<int> values = co_await cofork::gather(std::move(tasks));
  std::size_t sum = 0;
  for (const int value : values) sum += static_cast<std::size_t>(value);
  co_return sum;
}

cofork::Task<std::size_t> spawn_each(std::size_t count) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i != count; ++i) {
    const int value = co_await cofork::spawn(leaf<cofork::Task<int>>(1));
    sum += static_cast<std::size_t>(value);
  }
  co_return sum;
}

double on_loop(const Work& work, cofork::Task<std::size_t> (*make)(std::size_t)) {
  return cofork::run(batches_of<cofork::Task<double>>(work, work.count, [&] { return make(work.count); }));
}

double cofork_all(const Work& work) { return on_loop(work, spawn_all); }
double cofork_each(const Work& work) { return on_loop(work, spawn_each); }
double cofork_gather(const Work& work) { return on_loop(work, gather_all); }

}  // namespace

void measure_spawn(const Settings& settings, const Peer&) {
  const Work work{seconds_of(settings), settings.quick ? std::size_t{100'000} : std::size_t{1'000'000}};
  const std::string count = std::to_string(work.count);
  const Measures asio = measures_of_asio(), cppcoro = measures_of_cppcoro(), libcoro = measures_of_libcoro();
  compare_micro("each of " + count + " tasks that are spawned, and then all awaited",
                {contestant("bare coroutines", Contestant::limit, bare_all, work),
                 contestant("cofork spawn", Contestant::cofork, cofork_all, work, {{Aim::times_peer, 1.0}}),
                 contestant("Asio co_spawn, handlers that count", Contestant::peer, asio.spawn_all, work),
                 contestant("cppcoro when_all, schedule_on a pool of one", Contestant::peer, cppcoro.spawn_all, work),
                 contestant("libcoro when_all, schedule on a pool of one", Contestant::peer, libcoro.spawn_all, work),
                 contestant("uvco Promise", Contestant::peer, measures_of_uvco().spawn_all, work)},
                settings);
  compare_micro("each of " + count + " tasks, of which each is spawned and awaited before the next",
                {contestant("bare coroutines", Contestant::limit, bare_each, work),
                 contestant("cofork spawn", Contestant::cofork, cofork_each, work, {{Aim::times_peer, 1.0}}),
                 contestant("Asio co_spawn, use_awaitable", Contestant::peer, asio.spawn_each, work),
                 contestant("cppcoro schedule_on a pool of one", Contestant::peer, cppcoro.spawn_each, work),
                 contestant("libcoro schedule on a pool of one", Contestant::peer, libcoro.spawn_each, work)},
                settings);
  compare_micro("each of " + count + " tasks that are gathered",
                {contestant("bare coroutines", Contestant::limit, bare_all, work),
                 contestant("cofork gather", Contestant::cofork, cofork_gather, work, {{Aim::times_peer, 1.0}}),
                 contestant("cppcoro when_all", Contestant::peer, cppcoro.gather, work),
                 contestant("libcoro when_all", Contestant::peer, libcoro.gather, work)},
                settings);
}

}  // namespace bench
