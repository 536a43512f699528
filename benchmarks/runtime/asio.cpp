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

#include "deadlines.hpp"
#include "keep.hpp"
#include "post_load.hpp"
#include "turns.hpp"

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

[[gnu::noinline]] Awaitable<int> leaf(int value) {
  keep(value);
  co_return value;
}

Awaitable<int> await_leaves() {
  int sum = 0;
  for (int i = 0; i != leaves; ++i) sum += co_await leaf(1);
  co_return sum;
}

template <bool waiting>
[[gnu::noinline]] Awaitable<int> chain(int links) {
  keep(links);
  if (links == 0) {
    if constexpr (waiting) co_await asio::post(asio::use_awaitable);
    co_return 0;
  }
  const int below = co_await chain<waiting>(links - 1);
  co_return below + 1;
}

template <class Make>
Awaitable<double> batches_of(Work work, std::size_t each, Make make) {
  const auto first = co_await make();
  check(static_cast<std::size_t>(first) == each, "awaits");
  Batches batches(work.seconds);
  while (batches.next()) {
    const auto count = co_await make();
    check(static_cast<std::size_t>(count) == each, "awaits");
  }
  co_return 1e3 * batches.microseconds_each(each);
}

double measure_leaves(const Work& work) {
  asio::io_context context(1);
  return run(context, batches_of(work, leaves, await_leaves));
}

template <bool waiting>
double measure_links(const Work& work) {
  asio::io_context context(1);
  return run(context, batches_of(work, depth, [] { return chain<waiting>(depth); }));
}

Awaitable<> other_turns(Turns& turns, std::size_t self) {
  while (!turns.over) {
    turns.take(self);
    co_await asio::post(asio::use_awaitable);
  }
}

Awaitable<double> measured_turns(Turns& turns, Work work) {
  Batches batches(work.seconds);
  while (batches.next()) {
    for (std::size_t turn = 0; turn != turns_of_each; ++turn) {
      turns.take(0);
      co_await asio::post(asio::use_awaitable);
    }
  }
  turns.check_taken(work.count);
  turns.over = true;
  co_return 1e3 * batches.microseconds_each(work.count * turns_of_each);
}

double measure_yields(const Work& work) {
  asio::io_context context(1);
  Turns turns;
  for (std::size_t i = 1; i < work.count; ++i) asio::co_spawn(context, other_turns(turns, i), asio::detached);
  return run(context, measured_turns(turns, work));
}

double measure_spawn_all(const Work& work) {
  asio::io_context context(1);
  return nanoseconds_each(work, work.count, [&] {
    std::size_t sum = 0;
    for (std::size_t i = 0; i != work.count; ++i)
      asio::co_spawn(context, leaf(1), [&](const std::exception_ptr& error, int value) {
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
    const int value = co_await asio::co_spawn(executor, leaf(1), asio::use_awaitable);
    sum += static_cast<std::size_t>(value);
  }
  co_return sum;
}

double measure_spawn_each(const Work& work) {
  asio::io_context context(1);
  return run(context, batches_of(work, work.count, [count = work.count] { return spawn_each(count); }));
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
  all.chain = measure_links<false>;
  all.waiting_chain = measure_links<true>;
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
