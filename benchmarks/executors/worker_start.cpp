// A worker that has died, replaced, while the program is large.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cofork/executors/early_fork_server.hpp>
#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

using cofork::ProcessPoolExecutor;
using cofork::StartMethod;
using cofork::Task;

/// Memory of this process alone, in small pages, all of which were written.
class Ballast {
 public:
  explicit Ballast(std::size_t size) : size_(size) {
    if (size_ == 0) return;
    memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::runtime_error("no memory for the program to be large");
    ::madvise(memory_, size_, MADV_NOHUGEPAGE);
    for (std::size_t at = 0; at < size_; at += 4096) static_cast<char*>(memory_)[at] = 1;
  }
  ~Ballast() {
    if (size_ != 0) ::munmap(memory_, size_);
  }
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;

 private:
  std::size_t size_;
  void* memory_ = nullptr;
};

void noop() {}
void crash() { ::raise(SIGKILL); }

/// From the moment at which the pool tells of a worker's death to the first result of the next one; with `death`, from
/// the submission of the task that it dies of.
Task<double> pool_replacements(StartMethod method, int repetitions, bool death) {
  ProcessPoolExecutor pool({.max_workers = 1, .start_method = method});
  std::vector<double> microseconds;
  for (int i = 0; i < repetitions; ++i) {
    Clock::time_point begin = Clock::now();
    auto doomed = pool.submit(crash);
    bool died = false;
    try {
      co_await doomed;
    } catch (const cofork::WorkerDied&) {
      died = true;
    }
    if (!died) throw std::runtime_error("the worker lives");
    if (!death) begin = Clock::now();
    co_await pool.submit(noop);
    microseconds.push_back(seconds_since(begin) * 1e6);
  }
  co_return median(microseconds);
}

/// A fork and the first sign of life, as a program does it that has nothing but `fork`.
double raw_forks(int repetitions) {
  struct Sign {
    std::atomic<int> alive{0};
    Doorbell parent;
  };
  const Shared<Sign> sign;
  std::vector<double> microseconds;
  for (int i = 1; i <= repetitions; ++i) {
    const Clock::time_point begin = Clock::now();
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("fork");
    if (child == 0) {
      sign->alive.store(i, std::memory_order_release);
      sign->parent.ring();
      ::_exit(0);
    }
    sign->parent.wait([&] { return sign->alive.load(std::memory_order_acquire) == i; });
    microseconds.push_back(seconds_since(begin) * 1e6);
    ::waitpid(child, nullptr, 0);
  }
  return median(microseconds);
}

}  // namespace

void measure_worker_start(const Settings& settings, const Peer&) {
  const std::size_t large = settings.quick ? std::size_t{64} << 20 : std::size_t{1} << 30;
  const int many = settings.quick ? 10 : 60;
  const int few = settings.quick ? 3 : 10;
  const std::string size = settings.quick ? "64 MiB" : "1 GiB";
  const auto pool = [=](bool early, StartMethod method, int repetitions, bool death) {
    return in_child([=] {
      if (early) cofork::fork_server::start();
      const Ballast ballast(large);
      return cofork::run(pool_replacements(method, repetitions, death));
    });
  };
  Comparison comparison;
  comparison.title = "A new worker and its first result, " + size + " resident in the program";
  comparison.unit = "us";
  comparison.contestants = {
      {"fork() of a small program", Contestant::limit, [=] { return in_child([=] { return raw_forks(many); }); }},
      {"fork() of this program", Contestant::other,
       [=] {
         return in_child([=] {
           const Ballast ballast(large);
           return raw_forks(few);
         });
       }},
      {"cofork, fork_server::start() at the top",
       Contestant::cofork,
       [=] { return pool(true, StartMethod::automatic, many, false); },
       {{Aim::value, 300}}},
      {"the same, with the crash before", Contestant::cofork,
       [=] { return pool(true, StartMethod::automatic, many, true); }},
      {"cofork, template forked from the large program", Contestant::cofork,
       [=] { return pool(false, StartMethod::fork, few, false); }},
  };
  compare(comparison, settings.rounds);
}

}  // namespace bench
