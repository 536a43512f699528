// The same with Asio: Boost's, or the one without it.
#include "micro.hpp"

#include <utility>  // Boost 1.81 misses it

#if defined(BENCHMARK_ASIO)
#include <asio.hpp>
#elif defined(BENCHMARK_BOOST_ASIO)
#include <boost/asio.hpp>
#endif

// Older ones do not know that every compiler has coroutines.
#if defined(ASIO_HAS_CO_AWAIT) || defined(BOOST_ASIO_HAS_CO_AWAIT)

#include <deque>
#include <thread>

#include "coroutines.hpp"
#include "deadlines.hpp"
#include "post_load.hpp"

namespace bench {

namespace {

#ifdef BENCHMARK_ASIO
using Error = std::error_code;
#else
namespace asio = boost::asio;
using Error = boost::system::error_code;
#endif
template <class T = void>
using Awaitable = asio::awaitable<T>;

/// Runs `main` on a context of its own.
double run(asio::io_context& context, Awaitable<double> main) {
  double result = 0;
  asio::co_spawn(context, std::move(main), [&](std::exception_ptr error, double value) {
    if (error) std::rethrow_exception(error);
    result = value;
  });
  context.run();
  return result;
}

struct Post {
  static auto turn() { return asio::post(asio::use_awaitable); }
};

template <class Make>
double run_batches(const Work& work, std::size_t each, Make make) {
  asio::io_context context(1);
  return run(context, batches_of<Awaitable<double>>(work, each, make));
}

double measure_leaves(const Work& work) { return run_batches(work, leaves, await_leaves<Awaitable<int>>); }

double measure_chain(const Work& work) {
  return run_batches(work, depth, [] { return chain<Awaitable<int>>(depth); });
}

double measure_waiting_chain(const Work& work) {
  return run_batches(work, depth, [] { return waiting_chain<Awaitable<int>, Post>(depth); });
}

double measure_yields(const Work& work) {
  asio::io_context context(1);
  Turns turns;
  for (std::size_t i = 1; i < work.count; ++i)
    asio::co_spawn(context, other_turns<Awaitable<double>, Post>(turns, i), asio::detached);
  return run(context, measured_turns<Awaitable<double>, Post>(turns, work));
}

double measure_spawn_all(const Work& work) {
  asio::io_context context(1);
  return nanoseconds_each(work, work.count, [&] {
    std::size_t sum = 0;
    for (std::size_t i = 0; i != work.count; ++i)
      asio::co_spawn(context, leaf<Awaitable<int>>(1), [&](const std::exception_ptr& error, int value) {
        check(!error, "tasks");
        sum += static_cast<std::size_t>(value);
      });
    context.restart();
    context.run();
    check(sum == work.count, "tasks");
  });
}

Awaitable<std::size_t> spawn_each(std::size_t count) {
  std::size_t sum = 0;
  const auto executor = co_await asio::this_coro::executor;
  for (std::size_t i = 0; i != count; ++i) {
    const int value = co_await asio::co_spawn(executor, leaf<Awaitable<int>>(1), asio::use_awaitable);
    sum += static_cast<std::size_t>(value);
  }
  co_return sum;
}

double measure_spawn_each(const Work& work) {
  return run_batches(work, work.count, [count = work.count] { return spawn_each(count); });
}

using Timer = asio::steady_timer;

double measure_change(const Work& work) {
  asio::io_context context(1);
  std::size_t expired = 0, stopped = 0, started = 0;
  const auto handler = [&](const Error& error) { ++(error == asio::error::operation_aborted ? stopped : expired); };
  const auto standing_delays = long_delays(work.count), delays = long_delays(timers_of_batch);
  const Timer::time_point now = Timer::clock_type::now();
  std::deque<Timer> standing;
  for (const std::chrono::milliseconds delay : standing_delays)
    standing.emplace_back(context, now + delay).async_wait(handler);
  Timer timer(context);
  const double nanoseconds = nanoseconds_each(work, timers_of_batch, [&] {
    for (const std::chrono::milliseconds delay : delays) {
      timer.expires_at(now + delay);
      timer.async_wait(handler);
      timer.cancel();
      if (++started % 64 != 0) continue;
      context.restart();
      context.poll();
    }
  });
  check(expired == 0 && stopped == started, "timers that are stopped");
  return nanoseconds;
}

double measure_expire(const Work& work) {
  asio::io_context context(1);
  std::deque<Timer> timers;
  for (std::size_t i = 0; i != due_timers; ++i) timers.emplace_back(context);
  return nanoseconds_each(work, due_timers, [&] {
    std::size_t expired = 0;
    const Timer::time_point now = Timer::clock_type::now();
    for (Timer& timer : timers) {
      timer.expires_at(now);
      timer.async_wait([&](const Error& error) { expired += !error; });
    }
    context.restart();
    context.run();
    check(expired == due_timers, "timers that expire");
  });
}

Awaitable<double> sleep_zero(Work work) {
  Timer timer(co_await asio::this_coro::executor);
  Batches batches(work.seconds);
  while (batches.next()) {
    for (std::size_t i = 0; i != sleeps_of_batch; ++i) {
      timer.expires_after(std::chrono::nanoseconds(0));
      co_await timer.async_wait(asio::use_awaitable);
    }
  }
  co_return 1e3 * batches.microseconds_each(sleeps_of_batch);
}

double measure_sleep_zero(const Work& work) {
  asio::io_context context(1);
  return run(context, sleep_zero(work));
}

/// `load` in another thread, while this one runs what it posts.
template <class Load>
double measure_posts(const Work& work, Load load) {
  asio::io_context context;
  auto busy = asio::make_work_guard(context);
  double nanoseconds = 0;
  std::thread other([&] {
    nanoseconds = load([&](auto function) { asio::post(context, function); });
    busy.reset();
  });
  pin(work.cpu);
  context.run();
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

Measures measures_of_asio() {
  Measures all;
  all.leaf = measure_leaves;
  all.chain = measure_chain;
  all.waiting_chain = measure_waiting_chain;
  all.yields = measure_yields;
  all.spawn_all = measure_spawn_all;
  all.spawn_each = measure_spawn_each;
  all.change_timer = measure_change;
  all.expire_timers = measure_expire;
  all.sleep_zero = measure_sleep_zero;
  all.round_trip = measure_round_trip;
  all.throughput = measure_throughput;
  return all;
}

}  // namespace bench

#else

namespace bench {
Measures measures_of_asio() { return {}; }
}  // namespace bench

#endif
