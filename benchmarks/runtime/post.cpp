// Functions that another thread hands to a loop.
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include <cofork/runtime/event.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/run.hpp>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "measurements.hpp"
#include "micro.hpp"
#include "post_load.hpp"
#include "processes.hpp"

namespace bench {

namespace {

/// What other threads posted.
class Posted {
 public:
  /// Whether there was nothing before it.
  bool add(std::function<void()> function) {
    const std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    return functions_.size() == 1;
  }
  void run() {
    std::vector<std::function<void()>> functions;
    {
      const std::lock_guard lock(mutex_);
      functions.swap(functions_);
    }
    for (const std::function<void()>& function : functions) function();
  }

 private:
  std::mutex mutex_;
  std::vector<std::function<void()>> functions_;
};

/// A thread that does nothing but read an eventfd and run what was posted.
class EventfdDoor {
 public:
  EventfdDoor() : descriptor_(eventfd(0, EFD_CLOEXEC)) { check(descriptor_ >= 0, "eventfd"); }
  EventfdDoor(const EventfdDoor&) = delete;
  ~EventfdDoor() { ::close(descriptor_); }

  void post(std::function<void()> function) {
    const std::uint64_t one = 1;
    if (posted_.add(std::move(function))) check(write(descriptor_, &one, sizeof one) == sizeof one, "write");
  }
  void run() {
    for (std::uint64_t count; !closed_; posted_.run())
      check(read(descriptor_, &count, sizeof count) == sizeof count, "read");
  }
  /// From a posted function.
  void close() { closed_ = true; }

 private:
  int descriptor_;
  bool closed_ = false;
  Posted posted_;
};

class UvDoor {
 public:
  UvDoor() {
    check(uv_loop_init(&loop_) == 0, "uv_loop_init");
    async_.data = this;
    const auto on_ring = [](uv_async_t* async) { static_cast<UvDoor*>(async->data)->posted_.run(); };
    check(uv_async_init(&loop_, &async_, on_ring) == 0, "uv_async_init");
  }
  UvDoor(const UvDoor&) = delete;
  /// When no thread is in `post` any more: what is posted may run before it has returned.
  ~UvDoor() {
    uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    check(uv_loop_close(&loop_) == 0, "uv_loop_close");
  }

  void post(std::function<void()> function) {
    if (posted_.add(std::move(function))) check(uv_async_send(&async_) == 0, "uv_async_send");
  }
  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }
  /// From a posted function.
  void close() { uv_stop(&loop_); }

 private:
  uv_loop_t loop_;
  uv_async_t async_;
  Posted posted_;
};

struct RoundTrips {
  template <class Post>
  static double run(const Work& work, Post post) {
    return post_round_trips(work, post);
  }
};
struct Many {
  template <class Post>
  static double run(const Work& work, Post post) {
    return post_many(work, post);
  }
};

template <class Door, class Load>
double by_hand(const Work& work) {
  Door door;
  double nanoseconds = 0;
  std::thread other([&] {
    nanoseconds = Load::run(work, [&](auto function) { door.post(function); });
    door.post([&] { door.close(); });
  });
  pin(work.cpu);
  door.run();
  other.join();
  return nanoseconds;
}

template <class Load>
cofork::Task<double> posts(Work work) {
  cofork::Loop& loop = cofork::Loop::current();
  cofork::Event over;
  double nanoseconds = 0;
  std::thread other([&] {
    nanoseconds = Load::run(work, [&](auto function) { loop.post(function); });
    loop.post([&] { over.set(); });
  });
  pin(work.cpu);
  co_await over.wait();
  other.join();
  co_return nanoseconds;
}

template <class Load>
double by_cofork(const Work& work) {
  return cofork::run(posts<Load>(work));
}

}  // namespace

void measure_post(const Settings& settings, const Peer&) {
  const Measures asio = measures_of_asio(), libcoro = measures_of_libcoro();
  const auto cpus = two_cpus();
  for (const bool apart : {false, true}) {
    if (apart && !cpus) continue;
    const int cpu = cpus ? cpus->first : -1;
    const Work work{seconds_of(settings), 0, cpu, apart ? cpus->second : cpu};
    const std::string where = apart ? "on different cores" : "on one core";
    const char* const by_eventfd = "eventfd, vector under a mutex";
    const char* const by_uv = "libuv, uv_async_send, vector under a mutex";
    compare_micro(
        "a function posted by another thread, and its answer, " + where,
        {contestant(by_eventfd, Contestant::limit, by_hand<EventfdDoor, RoundTrips>, work),
         contestant(by_uv, Contestant::peer, by_hand<UvDoor, RoundTrips>, work),
         contestant("cofork Loop::post", Contestant::cofork, by_cofork<RoundTrips>, work, {{Aim::times_peer, 1.0}}),
         contestant("Asio post", Contestant::peer, asio.round_trip, work),
         contestant("cppcoro, io_service::schedule", Contestant::peer, measures_of_cppcoro().round_trip, work),
         contestant("libcoro, scheduler::spawn_detached", Contestant::peer, libcoro.round_trip, work)},
        settings);
    compare_micro("each of many functions posted by another thread, " + where,
                  {contestant(by_eventfd, Contestant::limit, by_hand<EventfdDoor, Many>, work),
                   contestant(by_uv, Contestant::peer, by_hand<UvDoor, Many>, work),
                   contestant("cofork Loop::post", Contestant::cofork, by_cofork<Many>, work, {{Aim::times_peer, 1.0}}),
                   contestant("Asio post", Contestant::peer, asio.throughput, work),
                   contestant("libcoro, scheduler::spawn_detached", Contestant::peer, libcoro.throughput, work)},
                  settings);
  }
}

}  // namespace bench
