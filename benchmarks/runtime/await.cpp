// Coroutines that await coroutines: one that returns at once, and a thousand, each awaiting the next.
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/sleep.hpp>

#include "bare.hpp"
#include "coroutines.hpp"
#include "measurements.hpp"
#include "micro.hpp"

namespace bench {

namespace {

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

struct Yield {
  static auto turn() { return cofork::yield_now(); }
};

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

template <class Make>
double on_loop(const Work& work, std::size_t each, Make make) {
  return cofork::run(batches_of<cofork::Task<double>>(work, each, make));
}

double cofork_leaf(const Work& work) { return on_loop(work, leaves, await_leaves<cofork::Task<int>>); }

double cofork_chain(const Work& work) {
  return on_loop(work, depth, [] { return chain<cofork::Task<int>>(depth); });
}

double cofork_waiting_chain(const Work& work) {
  return on_loop(work, depth, [] { return waiting_chain<cofork::Task<int>, Yield>(depth); });
}

}  // namespace

void measure_leaf(const Settings& settings, const Peer&) {
  const Work work{seconds_of(settings)};
  compare_micro(
      "await of a coroutine that returns at once",
      {contestant("bare coroutine", Contestant::limit, bare_leaf, work),
       contestant("cofork Task", Contestant::cofork, cofork_leaf, work, {{Aim::times_peer, 1.0}, {Aim::value, 7.0}}),
       contestant("Asio awaitable", Contestant::peer, measures_of_asio().leaf, work),
       contestant("cppcoro task", Contestant::peer, measures_of_cppcoro().leaf, work),
       contestant("libcoro task", Contestant::peer, measures_of_libcoro().leaf, work),
       contestant("uvco Promise", Contestant::peer, measures_of_uvco().leaf, work)},
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
       contestant("Asio awaitable", Contestant::peer, measures_of_asio().chain, work),
       contestant("cppcoro task", Contestant::peer, measures_of_cppcoro().chain, work),
       contestant("libcoro task", Contestant::peer, measures_of_libcoro().chain, work),
       contestant("uvco Promise", Contestant::peer, measures_of_uvco().chain, work)},
      settings);
  compare_micro(title + "waits once",
                {contestant("bare coroutine", Contestant::limit, bare_last_waits, work),
                 contestant("cofork Task", Contestant::cofork, cofork_waiting_chain, work, {{Aim::times_peer, 1.0}}),
                 contestant("Asio awaitable", Contestant::peer, measures_of_asio().waiting_chain, work),
                 contestant("cppcoro task, static_thread_pool of one thread", Contestant::peer,
                            measures_of_cppcoro().waiting_chain, work),
                 contestant("libcoro task, thread_pool of one thread", Contestant::peer,
                            measures_of_libcoro().waiting_chain, work),
                 contestant("uvco Promise", Contestant::peer, measures_of_uvco().waiting_chain, work)},
                settings);
}

}  // namespace bench
