// Timers: started and stopped again, expired, and of length 0.
#include <uv.h>

#include <cofork/runtime/event.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <deque>

#include "deadlines.hpp"
#include "measurements.hpp"
#include "micro.hpp"

namespace bench {

namespace {

class UvLoop {
 public:
  UvLoop() { check(uv_loop_init(&loop_) == 0, "uv_loop_init"); }
  UvLoop(const UvLoop&) = delete;
  uv_loop_t* get() { return &loop_; }
  /// The handles must be closing, and there still.
  void close() {
    uv_run(&loop_, UV_RUN_DEFAULT);
    check(uv_loop_close(&loop_) == 0, "uv_loop_close");
  }

 private:
  uv_loop_t loop_;
};

class UvTimers {
 public:
  UvTimers(UvLoop& loop, std::size_t count) : timers_(count) {
    for (uv_timer_t& timer : timers_) {
      uv_timer_init(loop.get(), &timer);
      timer.data = this;
    }
  }
  void start(std::size_t index, std::chrono::milliseconds delay) {
    const auto on_expiry = [](uv_timer_t* timer) { ++static_cast<UvTimers*>(timer->data)->expired; };
    check(uv_timer_start(&timers_[index], on_expiry, static_cast<std::uint64_t>(delay.count()), 0) == 0, "timer");
  }
  void stop(std::size_t index) { check(uv_timer_stop(&timers_[index]) == 0, "timer"); }
  void close() {
    for (uv_timer_t& timer : timers_) uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
  }
  std::size_t expired = 0;

 private:
  std::vector<uv_timer_t> timers_;
};

double uv_change(const Work& work) {
  UvLoop loop;
  UvTimers standing(loop, work.count), timer(loop, 1);
  const auto standing_delays = long_delays(work.count), delays = long_delays(timers_of_batch);
  for (std::size_t i = 0; i != work.count; ++i) standing.start(i, standing_delays[i]);
  const double nanoseconds = nanoseconds_each(work, timers_of_batch, [&] {
    for (const std::chrono::milliseconds delay : delays) {
      timer.start(0, delay);
      timer.stop(0);
    }
  });
  uv_run(loop.get(), UV_RUN_NOWAIT);
  check(standing.expired == 0 && timer.expired == 0, "timers that are stopped");
  standing.close();
  timer.close();
  loop.close();
  return nanoseconds;
}

double uv_expire(const Work& work) {
  UvLoop loop;
  UvTimers timers(loop, due_timers);
  const double nanoseconds = nanoseconds_each(work, due_timers, [&] {
    timers.expired = 0;
    for (std::size_t i = 0; i != due_timers; ++i) timers.start(i, std::chrono::milliseconds(0));
    while (timers.expired < due_timers) uv_run(loop.get(), UV_RUN_NOWAIT);
    check(timers.expired == due_timers, "timers that expire");
  });
  timers.close();
  loop.close();
  return nanoseconds;
}

double uv_sleep_zero(const Work& work) {
  UvLoop loop;
  UvTimers timer(loop, 1);
  const double nanoseconds = nanoseconds_each(work, sleeps_of_batch, [&] {
    timer.expired = 0;
    for (std::size_t i = 0; i != sleeps_of_batch; ++i) {
      timer.start(0, std::chrono::milliseconds(0));
      uv_run(loop.get(), UV_RUN_ONCE);
    }
    check(timer.expired == sleeps_of_batch, "timers that expire");
  });
  timer.close();
  loop.close();
  return nanoseconds;
}

using cofork::detail::Clock;

struct CountedTimer : cofork::detail::Timer {
  static void on_expiry(cofork::detail::Timer& timer) noexcept {
    auto& self = static_cast<CountedTimer&>(timer);
    if (++self.count->expired == self.count->wanted) self.count->all.set();
  }
  struct Count {
    std::size_t expired = 0, wanted = 0;
    cofork::Event all;
  };
  Count* count = nullptr;
};

cofork::Task<double> change(Work work) {
  CountedTimer::Count count;
  std::deque<CountedTimer> standing(work.count);
  const auto standing_delays = long_delays(work.count), delays = long_delays(timers_of_batch);
  const Clock::time_point now = Clock::now();
  for (std::size_t i = 0; i != work.count; ++i) {
    standing[i].count = &count;
    standing[i].start(now + standing_delays[i], CountedTimer::on_expiry);
  }
  CountedTimer timer;
  timer.count = &count;
  const double nanoseconds = nanoseconds_each(work, timers_of_batch, [&] {
    for (const std::chrono::milliseconds delay : delays) {
      timer.start(now + delay, CountedTimer::on_expiry);
      timer.stop();
    }
  });
  co_await cofork::sleep(std::chrono::milliseconds(1));
  check(count.expired == 0, "timers that are stopped");
  co_return nanoseconds;
}

cofork::Task<double> expire(Work work) {
  CountedTimer::Count count;
  std::vector<CountedTimer> timers(due_timers);
  for (CountedTimer& timer : timers) timer.count = &count;
  Batches batches(work.seconds);
  while (batches.next()) {
    count.expired = 0;
    count.wanted = due_timers;
    count.all.clear();
    const Clock::time_point now = Clock::now();
    for (CountedTimer& timer : timers) timer.start(now, CountedTimer::on_expiry);
    co_await count.all.wait();
    check(count.expired == due_timers, "timers that expire");
  }
  co_return 1e3 * batches.microseconds_each(due_timers);
}

cofork::Task<double> sleep_zero(Work work) {
  Batches batches(work.seconds);
  while (batches.next())
    for (std::size_t i = 0; i != sleeps_of_batch; ++i) co_await cofork::sleep(std::chrono::nanoseconds(0));
  co_return 1e3 * batches.microseconds_each(sleeps_of_batch);
}

double cofork_change(const Work& work) { return cofork::run(change(work)); }
double cofork_expire(const Work& work) { return cofork::run(expire(work)); }
double cofork_sleep_zero(const Work& work) { return cofork::run(sleep_zero(work)); }

}  // namespace

void measure_timers(const Settings& settings, const Peer&) {
  const Measures asio = measures_of_asio();
  for (const std::size_t standing : {0, 100'000}) {
    const Work work{seconds_of(settings), standing};
    std::vector<Aim> aims = {{Aim::times_peer, 1.0}};
    if (standing > 0) aims.push_back({Aim::value, 11.0});
    compare_micro("a timer started and stopped, beside " + std::to_string(standing) + " standing ones",
                  {contestant("libuv, uv_timer_start, uv_timer_stop", Contestant::limit, uv_change, work),
                   contestant("cofork, the loop's timers", Contestant::cofork, cofork_change, work, std::move(aims)),
                   contestant("Asio, steady_timer and its handler", Contestant::peer, asio.change_timer, work)},
                  settings);
  }
  const Work work{seconds_of(settings)};
  compare_micro(
      "each of " + std::to_string(due_timers) + " timers, from their start until all have expired",
      {contestant("libuv, uv_timer_start", Contestant::limit, uv_expire, work),
       contestant("cofork, the loop's timers", Contestant::cofork, cofork_expire, work, {{Aim::times_peer, 1.0}}),
       contestant("Asio, steady_timer and its handler", Contestant::peer, asio.expire_timers, work)},
      settings);
  compare_micro(
      "a sleep of length 0",
      {contestant("libuv, uv_timer_start and a turn", Contestant::limit, uv_sleep_zero, work),
       contestant("cofork sleep", Contestant::cofork, cofork_sleep_zero, work, {{Aim::times_peer, 1.0}}),
       contestant("Asio, steady_timer and use_awaitable", Contestant::peer, asio.sleep_zero, work),
       contestant("cppcoro, io_service::schedule_after", Contestant::peer, measures_of_cppcoro().sleep_zero, work),
       contestant("libcoro, scheduler::yield_for", Contestant::peer, measures_of_libcoro().sleep_zero, work)},
      settings);
}

}  // namespace bench
