// The start of a program that does nothing, and the wait for its end.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/subprocess.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "measurements.hpp"
#include "processes.hpp"

namespace bench {

namespace {

constexpr const char* program = "/bin/true";

struct Situation {
  std::size_t mebibytes;  ///< that this process has in use besides
  double seconds;
};

/// Two medians, of what it takes until the call that starts the program returns, and until the program has ended.
class Times {
 public:
  explicit Times(double seconds) : seconds_(seconds) {}
  bool next() {
    if (begun_) whole_.push_back(1e6 * seconds_since(last_));
    begun_ = true;
    last_ = Clock::now();
    return seconds_since(start_) < seconds_;
  }
  void started() { starts_.push_back(1e6 * seconds_since(last_)); }
  double result(bool start_only) const { return median(start_only ? starts_ : whole_); }

 private:
  double seconds_;
  Clock::time_point start_ = Clock::now(), last_;
  bool begun_ = false;
  std::vector<double> starts_, whole_;
};

void check(bool right) {
  if (!right) throw std::runtime_error("a program could not be started");
}

Times by_posix_spawn(const Situation& situation) {
  Times times(situation.seconds);
  char* arguments[] = {const_cast<char*>(program), nullptr};
  while (times.next()) {
    pid_t pid = 0;
    check(posix_spawn(&pid, program, nullptr, nullptr, arguments, environ) == 0);
    times.started();
    int status = 1;
    check(waitpid(pid, &status, 0) == pid && status == 0);
  }
  return times;
}

Times by_uv_spawn(const Situation& situation) {
  Times times(situation.seconds);
  uv_loop_t loop;
  check(uv_loop_init(&loop) == 0);
  char* arguments[] = {const_cast<char*>(program), nullptr};
  while (times.next()) {
    uv_process_t process;
    uv_process_options_t options = {};
    options.file = program;
    options.args = arguments;
    options.exit_cb = [](uv_process_t* ended, std::int64_t, int) {
      uv_close(reinterpret_cast<uv_handle_t*>(ended), nullptr);
    };
    check(uv_spawn(&loop, &process, &options) == 0);
    times.started();
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  uv_loop_close(&loop);
  return times;
}

cofork::Task<Times> by_cofork(Situation situation) {
  Times times(situation.seconds);
  while (times.next()) {
    cofork::Subprocess process = cofork::Subprocess::start({program});
    times.started();
    const int exitcode = co_await process.wait();
    check(exitcode == 0);
  }
  co_return times;
}

void compare_starts(const Situation& situation, bool start_only, const Settings& settings) {
  const auto alone = [=](Times (*measurement)(const Situation&)) {
    return [=] {
      return in_child([=] {
        const std::vector<char> memory(situation.mebibytes << 20, 1);
        return measurement(situation).result(start_only);
      });
    };
  };
  Comparison comparison;
  comparison.title = std::string(program) + (start_only ? " started" : " started and waited for") + ", parent with " +
                     std::to_string(situation.mebibytes) + " MiB more";
  comparison.unit = "us";
  comparison.contestants = {
      {"posix_spawn, waitpid", Contestant::limit, alone(by_posix_spawn)},
      {"cofork Subprocess", Contestant::cofork,
       alone([](const Situation& there) { return cofork::run(by_cofork(there)); })},
      {"libuv, uv_spawn", Contestant::peer, alone(by_uv_spawn)},
  };
  compare(comparison, settings.rounds);
}

}  // namespace

void measure_spawn_program(const Settings& settings, const Peer&) {
  for (const std::size_t mebibytes : {0, 100, 1024})
    for (const bool start_only : {true, false})
      compare_starts({mebibytes, settings.quick ? 0.1 : 0.5}, start_only, settings);
}

}  // namespace bench
