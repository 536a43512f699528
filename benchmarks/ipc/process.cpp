// The start of a process that does nothing, and the wait for its end.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cofork/executors/process.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <system_error>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

struct Situation {
  std::size_t mebibytes;  ///< that the parent has in use besides
  double seconds;
  int cpu;
};

/// The median time of what lies between its calls.
class Times {
 public:
  explicit Times(double seconds) : seconds_(seconds) {}
  bool next() {
    const Clock::time_point now = Clock::now();
    if (begun_) microseconds_.push_back(std::chrono::duration<double, std::micro>(now - last_).count());
    begun_ = true;
    last_ = Clock::now();
    return seconds_since(start_) < seconds_;
  }
  double microseconds() const { return median(microseconds_); }

 private:
  double seconds_;
  Clock::time_point start_ = Clock::now(), last_;
  bool begun_ = false;
  std::vector<double> microseconds_;
};

void check(bool right) {
  if (!right) throw std::runtime_error("a process failed");
}

double forked(const Situation& situation) {
  Times times(situation.seconds);
  while (times.next()) {
    const pid_t pid = fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) _exit(0);
    int status = 1;
    check(waitpid(pid, &status, 0) == pid && status == 0);
  }
  return times.microseconds();
}

void nothing() {}

double blocking(const Situation& situation) {
  Times times(situation.seconds);
  while (times.next()) {
    cofork::Process process(nothing);
    process.start();
    process.blocking_join();
    check(process.exitcode() == 0);
  }
  return times.microseconds();
}

cofork::Task<double> awaited(Situation situation) {
  Times times(situation.seconds);
  while (times.next()) {
    cofork::Process process(nothing);
    process.start();
    co_await process.join();
    check(process.exitcode() == 0);
  }
  co_return times.microseconds();
}

std::function<std::optional<double>()> alone(const Situation& situation, double (*measurement)(const Situation&)) {
  return [=] {
    return in_child([=] {
      pin(situation.cpu);
      const std::vector<char> memory(situation.mebibytes << 20, 1);
      return measurement(situation);
    });
  };
}

void compare_starts(std::size_t mebibytes, const Settings& settings, const Peer& peer) {
  const auto cpus = two_cpus();
  const Situation situation{mebibytes, settings.quick ? 0.1 : 0.5, cpus ? cpus->first : -1};
  const std::vector<Aim> aims{{Aim::times_limit, 1.3}};
  Comparison comparison;
  comparison.title = "A process that does nothing, started and joined, parent with " + std::to_string(mebibytes) +
                     " MiB more, on one core";
  comparison.unit = "us";
  comparison.contestants = {
      {"fork, _exit, waitpid", Contestant::limit, alone(situation, forked)},
      {"cofork Process, blocking_join", Contestant::cofork, alone(situation, blocking), aims},
      {"cofork Process, co_await join", Contestant::cofork,
       alone(situation, [](const Situation& there) { return cofork::run(awaited(there)); }), aims},
      {"Python, multiprocessing.Process, fork", Contestant::python,
       [=, &peer] {
         return peer.run("process " + std::to_string(situation.mebibytes) + " " + std::to_string(situation.seconds) +
                         " " + std::to_string(situation.cpu));
       }},
  };
  compare(comparison, settings.rounds);
}

}  // namespace

void measure_process(const Settings& settings, const Peer& peer) {
  for (const std::size_t mebibytes : {0, 10, 100}) compare_starts(mebibytes, settings, peer);
}

}  // namespace bench
