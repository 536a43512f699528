// Coroutines that await coroutines: one that returns at once, and a thousand, each awaiting the next.
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>

#include "bare.hpp"
#include "keep.hpp"
#include "measurements.hpp"
#include "micro.hpp"

namespace bench {

namespace {

template <class Coroutine>
[[gnu::noinline]] Coroutine leaf(int value) {
  keep(value);
  co_return value;
}

template <class Coroutine>
Coroutine await_leaves() {
  int sum = 0;
  for (int i = 0; i != leaves; ++i) sum += co_await leaf<Coroutine>(1);
  co_return sum;
}

template <class Coroutine>
[[gnu::noinline]] Coroutine chain(int links) {
  keep(links);
  if (links == 0) co_return 0;
  const int below = co_await chain<Coroutine>(links - 1);
  co_return below + 1;
}

/// The awaiter with which a bare coroutine waits to be resumed by hand.
struct ByHand {
  std::coroutine_handle<>& waiting;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) const noexcept { waiting = handle; }
  void await_resume() const noexcept {}
};

[[gnu::noinline]] Bare bare_waiting_chain(int links, std::coroutine_handle<>& bottom) {
  keep(links);
  if (links == 0) {
    co_await ByHand{bottom};
    co_return 0;
  }
  const int below = co_await bare_waiting_chain(links - 1, bottom);
  co_return below + 1;
}

[[gnu::noinline]] cofork::Task<int> waiting_chain(int links) {
  keep(links);
  if (links == 0) {
    co_await cofork::yield_now();
    co_return 0;
  }
  const int below = co_await waiting_chain(links - 1);
  co_return below + 1;
}

double bare_leaf(const Work& work) {
  return nanoseconds_each(work, leaves, [] { check(await_leaves<Bare>().await_resume() == leaves, "leaves"); });
}

double bare_chain(const Work& work) {
  return nanoseconds_each(work, depth, [] { check(chain<Bare>(depth).await_resume() == depth, "chain"); });
}

double bare_last_waits(const Work& work) {
  return nanoseconds_each(work, depth, [] {
    std::coroutine_handle<> bottom;
    const Bare top = bare_waiting_chain(depth, bottom);
    check(!top.await_ready(), "a chain that waits");
    bottom.resume();
    check(top.await_ready() && top.await_resume() == depth, "a chain that waits");
  });
}

/// Batches of what `make()` gives, on a loop.
template <class Make>
cofork::Task<double> on_loop(Work work, int each, Make make) {
  const int first = co_await make();
  check(first == each, "awaits");
  Batches batches(work.seconds);
  while (batches.next()) {
    const int count = co_await make();
    check(count == each, "awaits");
  }
  co_return 1e3 * batches.microseconds_each(static_cast<std::size_t>(each));
}

double cofork_leaf(const Work& work) { return cofork::run(on_loop(work, leaves, await_leaves<cofork::Task<int>>)); }

double cofork_chain(const Work& work) {
  return cofork::run(on_loop(work, depth, [] { return chain<cofork::Task<int>>(depth); }));
}

double cofork_waiting_chain(const Work& work) {
  return cofork::run(on_loop(work, depth, [] { return waiting_chain(depth); }));
}

}  // namespace

void measure_leaf(const Settings& settings, const Peer&) {
  const Work work{seconds_of(settings)};
  compare_micro(
      "await of a coroutine that returns at once",
      {contestant("bare coroutine", Contestant::limit, bare_leaf, work),
       contestant("cofork Task", Contestant::cofork, cofork_leaf, work, {{Aim::times_peer, 1.0}, {Aim::value, 7.0}}),
       contestant("Asio awaitable", Contestant::peer, measures_of_asio().leaf, work)},
      settings);
}

void measure_chain(const Settings& settings, const Peer&) {
  const Work work{seconds_of(settings)};
  const std::string title =
      "each of " + std::to_string(depth) + " coroutines, of which each awaits the next; the last ";
  compare_micro(
      title + "returns at once",
      {contestant("bare coroutine", Contestant::limit, bare_chain, work),
       contestant("cofork Task", Contestant::cofork, cofork_chain, work, {{Aim::times_peer, 1.0}, {Aim::value, 11.0}}),
       contestant("Asio awaitable", Contestant::peer, measures_of_asio().chain, work)},
      settings);
  compare_micro(title + "waits once",
                {contestant("bare coroutine", Contestant::limit, bare_last_waits, work),
                 contestant("cofork Task", Contestant::cofork, cofork_waiting_chain, work, {{Aim::times_peer, 1.0}}),
                 contestant("Asio awaitable", Contestant::peer, measures_of_asio().waiting_chain, work)},
                settings);
}

}  // namespace bench
