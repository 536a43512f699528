// Coroutines that let each other run.
#include <uv.h>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/spawn.hpp>

#include "bare.hpp"
#include "measurements.hpp"
#include "micro.hpp"
#include "turns.hpp"

namespace bench {

namespace {

Bare bare_turns(Turns& turns, std::size_t self) {
  while (!turns.over) {
    turns.take(self);
    co_await std::suspend_always{};
  }
  co_return 0;
}

double by_hand(const Work& work) {
  Turns turns;
  std::vector<Bare> coroutines;
  coroutines.reserve(work.count);
  std::vector<std::coroutine_handle<>> handles;
  for (std::size_t i = 0; i != work.count; ++i) {
    coroutines.push_back(bare_turns(turns, i));
    handles.push_back(coroutines.back().handle());
  }
  const double nanoseconds = nanoseconds_each(work, work.count * turns_of_each, [&] {
    for (std::size_t turn = 0; turn != turns_of_each; ++turn)
      for (const std::coroutine_handle<> handle : handles) handle.resume();
  });
  turns.check_taken(work.count);
  while (!coroutines.empty()) coroutines.pop_back();
  return nanoseconds;
}

cofork::Task<> other_turns(Turns& turns, std::size_t self) {
  while (!turns.over) {
    turns.take(self);
    co_await cofork::yield_now();
  }
}

cofork::Task<double> measured_turns(Work work) {
  Turns turns;
  std::vector<cofork::Future<void>> others;
  for (std::size_t i = 1; i < work.count; ++i) others.push_back(cofork::spawn(other_turns(turns, i)));
  Batches batches(work.seconds);
  while (batches.next()) {
    for (std::size_t turn = 0; turn != turns_of_each; ++turn) {
      turns.take(0);
      co_await cofork::yield_now();
    }
  }
  turns.check_taken(work.count);
  turns.over = true;
  for (cofork::Future<void>& other : others) co_await std::move(other);
  co_return 1e3 * batches.microseconds_each(work.count * turns_of_each);
}

double by_cofork(const Work& work) { return cofork::run(measured_turns(work)); }

struct Idle {
  uv_idle_t handle;
  Turns* turns;
  std::size_t self;
};

double by_uv_idle(const Work& work) {
  Turns turns;
  uv_loop_t loop;
  check(uv_loop_init(&loop) == 0, "uv_loop_init");
  std::vector<Idle> idles(work.count);
  for (std::size_t i = 0; i != work.count; ++i) {
    idles[i].turns = &turns;
    idles[i].self = i;
    uv_idle_init(&loop, &idles[i].handle);
    uv_idle_start(&idles[i].handle, [](uv_idle_t* handle) {
      const Idle& idle = *reinterpret_cast<Idle*>(handle);
      idle.turns->take(idle.self);
    });
  }
  const double nanoseconds = nanoseconds_each(work, work.count * turns_of_each, [&] {
    for (std::size_t turn = 0; turn != turns_of_each; ++turn) uv_run(&loop, UV_RUN_NOWAIT);
  });
  turns.check_taken(work.count);
  for (Idle& idle : idles) uv_close(reinterpret_cast<uv_handle_t*>(&idle.handle), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  check(uv_loop_close(&loop) == 0, "uv_loop_close");
  return nanoseconds;
}

}  // namespace

void measure_yield(const Settings& settings, const Peer&) {
  for (const std::size_t coroutines : {1, 2}) {
    const Work work{seconds_of(settings), coroutines};
    std::vector<Aim> aims = {{Aim::times_peer, 1.0}, {Aim::value, 4.0}};
    compare_micro(
        coroutines == 1 ? "a turn of a lone coroutine that yields" : "a turn of one of two that yield",
        {contestant("bare coroutines", Contestant::limit, by_hand, work),
         contestant("cofork yield_now", Contestant::cofork, by_cofork, work, std::move(aims)),
         contestant("Asio, post and use_awaitable", Contestant::peer, measures_of_asio().yields, work),
         contestant("cppcoro, io_service", Contestant::peer, measures_of_cppcoro().yields, work),
         contestant("libcoro, thread_pool of one thread", Contestant::peer, measures_of_libcoro().yields, work),
         contestant("uvco yield", Contestant::peer, measures_of_uvco().yields, work),
         contestant("libuv, uv_idle", Contestant::peer, by_uv_idle, work)},
        settings);
  }
}

}  // namespace bench
