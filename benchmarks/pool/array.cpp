// A large array there and back, and there only.
#include <malloc.h>

#include <cofork/executors/process_pool_executor.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

using cofork::ProcessPoolExecutor;
using cofork::Task;

constexpr std::size_t page_doubles = 4096 / sizeof(double);

struct Size {
  std::size_t mebibytes;
  int repeats;

  std::size_t bytes() const { return mebibytes << 20; }
  std::size_t doubles() const { return bytes() / sizeof(double); }
  double pages() const { return static_cast<double>(doubles() / page_doubles); }
};

std::vector<double> echo(std::vector<double> values) { return values; }

double touch(std::span<const double> values) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); i += page_doubles) sum += values[i];
  return sum;
}

/// The times of some runs of `each`, but not of the first, which finds no memory warm.
class Repeats {
 public:
  explicit Repeats(int count) : left_(count + 1), start_(Clock::now()) {}
  void ended() {
    milliseconds_.push_back(seconds_since(start_) * 1e3);
    --left_;
  }
  bool next() {
    start_ = Clock::now();
    return left_ > 0;
  }
  double milliseconds() const { return median({milliseconds_.begin() + 1, milliseconds_.end()}); }

 private:
  int left_;
  Clock::time_point start_;
  std::vector<double> milliseconds_;
};

void check(bool right) {
  if (!right) throw std::logic_error("the result is wrong");
}

/// malloc gives large blocks back to the system when they are freed, and each new one begins with page faults.
void keep_freed_memory() {
  if (mallopt(M_MMAP_MAX, 0) == 0 || mallopt(M_TRIM_THRESHOLD, -1) == 0) throw std::runtime_error("mallopt failed");
}

Task<double> pool_echo(Size size) {
  ProcessPoolExecutor pool(1);
  const std::vector<double> values(size.doubles(), 1.0);
  Repeats repeats(size.repeats);
  while (repeats.next()) {
    const std::vector<double> back = co_await pool.submit(echo, values);
    repeats.ended();
    check(back.size() == values.size() && touch(back) == size.pages());
  }
  co_return repeats.milliseconds();
}

Task<double> pool_touch(Size size) {
  ProcessPoolExecutor pool(1);
  const std::vector<double> values(size.doubles(), 1.0);
  Repeats repeats(size.repeats);
  while (repeats.next()) {
    const double sum = co_await pool.submit(touch, values);
    repeats.ended();
    check(sum == size.pages());
  }
  co_return repeats.milliseconds();
}

/// Two processes that take turns at the same memory.
class Turns {
 public:
  explicit Turns(std::size_t bytes) : memory_(bytes) {}

  double* arena() const { return static_cast<double*>(memory_.data()); }
  double& answer() { return words_->answer; }

  void give_to_worker() {
    ++words_->asked;
    words_->worker.ring();
    words_->parent.wait([&] { return words_->answered == words_->asked; });
  }
  template <class F>
  [[noreturn]] void serve(F each) {
    for (;;) {
      words_->worker.wait([&] { return words_->asked != words_->answered; });
      each();
      ++words_->answered;
      words_->parent.ring();
    }
  }

 private:
  struct Words {
    std::atomic<std::uint64_t> asked{0}, answered{0};
    double answer = 0;
    Doorbell worker, parent;
  };
  SharedMemory memory_;
  Shared<Words> words_;
};

/// Copied in and out on each way: four copies, between memory that is warm.
double raw_echo(Size size) {
  Turns turns(size.bytes());
  const Partner partner([&] {
    std::vector<double> own(size.doubles());
    turns.serve([&] {
      std::memcpy(own.data(), turns.arena(), size.bytes());
      std::memcpy(turns.arena(), own.data(), size.bytes());
    });
  });
  const std::vector<double> values(size.doubles(), 1.0);
  std::vector<double> back(size.doubles());
  Repeats repeats(size.repeats);
  while (repeats.next()) {
    std::memcpy(turns.arena(), values.data(), size.bytes());
    turns.give_to_worker();
    std::memcpy(back.data(), turns.arena(), size.bytes());
    repeats.ended();
    check(touch(back) == size.pages());
  }
  return repeats.milliseconds();
}

/// The same where each side copies into a new vector, as a function that takes and gives vectors must.
double raw_echo_of_vectors(Size size) {
  Turns turns(size.bytes());
  const Partner partner([&] {
    turns.serve([&] {
      const std::vector<double> own(turns.arena(), turns.arena() + size.doubles());
      std::memcpy(turns.arena(), own.data(), size.bytes());
    });
  });
  const std::vector<double> values(size.doubles(), 1.0);
  Repeats repeats(size.repeats);
  while (repeats.next()) {
    std::memcpy(turns.arena(), values.data(), size.bytes());
    turns.give_to_worker();
    const std::vector<double> back(turns.arena(), turns.arena() + size.doubles());
    repeats.ended();
    check(touch(back) == size.pages());
  }
  return repeats.milliseconds();
}

double raw_touch(Size size) {
  Turns turns(size.bytes());
  const Partner partner(
      [&] { turns.serve([&] { turns.answer() = touch(std::span(turns.arena(), size.doubles())); }); });
  const std::vector<double> values(size.doubles(), 1.0);
  Repeats repeats(size.repeats);
  while (repeats.next()) {
    std::memcpy(turns.arena(), values.data(), size.bytes());
    turns.give_to_worker();
    repeats.ended();
    check(turns.answer() == size.pages());
  }
  return repeats.milliseconds();
}

std::function<std::optional<double>()> alone(double (*measurement)(Size), Size size) {
  return [=] { return in_child([=] { return measurement(size); }); };
}
std::function<std::optional<double>()> alone(Task<double> (*measurement)(Size), Size size, bool keep_memory = false) {
  return [=] {
    return in_child([=] {
      if (keep_memory) keep_freed_memory();
      return cofork::run(measurement(size));
    });
  };
}

}  // namespace

void measure_array(const Settings& settings, const Peer& peer) {
  const Size size = settings.quick ? Size{16, 2} : Size{256, 3};
  const std::string mebibytes = std::to_string(size.mebibytes);
  const std::string python = peer.has_numpy() ? "Python, numpy" : "Python, array.array (no numpy here)";
  const auto python_run = [&](const std::string& what) {
    return peer.run("array " + what + " " + mebibytes + " " + std::to_string(size.repeats));
  };
  const std::vector<Aim> aims{{Aim::times_limit, 1.3}};
  Comparison both_ways;
  both_ways.title = mebibytes + " MiB vector<double> there and back";
  both_ways.unit = "ms";
  both_ways.contestants = {
      {"shared memory, 4 copies, all memory warm", Contestant::limit, alone(raw_echo, size)},
      {"the same, into new vectors", Contestant::other, alone(raw_echo_of_vectors, size)},
      {"cofork", Contestant::cofork, alone(pool_echo, size), aims},
      {"cofork, malloc keeps freed memory", Contestant::cofork, alone(pool_echo, size, true), aims},
      {python, Contestant::python, [&] { return python_run("echo"); }},
  };
  compare(both_ways, settings.rounds);
  Comparison one_way;
  one_way.title = mebibytes + " MiB as std::span<const double>, one element per page read";
  one_way.unit = "ms";
  one_way.contestants = {
      {"shared memory, 1 copy, read in place", Contestant::limit, alone(raw_touch, size)},
      {"cofork", Contestant::cofork, alone(pool_touch, size), aims},
      {python, Contestant::python, [&] { return python_run("touch"); }},
  };
  compare(one_way, settings.rounds);
}

}  // namespace bench
