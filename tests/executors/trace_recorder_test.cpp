#include <cofork/executors/trace_recorder.hpp>
#include <csignal>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "pool_harness.hpp"
#include "trace_events.hpp"

using namespace pool_test;
using namespace trace_test;
using cofork::Future;
using cofork::ProcessPoolExecutor;
using cofork::run;
using cofork::Task;
using cofork::TraceRecorder;

namespace {

int throw_it(int) { throw std::runtime_error("no"); }
int crash(int) {
  std::raise(SIGKILL);
  return 0;
}
int crash_once(int counter) {
  if (Shared::at(static_cast<std::size_t>(counter))++ == 0) std::raise(SIGKILL);
  return 1;
}
void nothing() {}
int same(int x) { return x; }
/// Microseconds of work.
int busy(int microseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  while (std::chrono::steady_clock::now() < end) {
  }
  return microseconds;
}

}  // namespace

TEST_CASE("an empty trace is well-formed, before and after it was attached", "[trace]") {
  TraceRecorder trace;
  CHECK(trace.tasks() == 0);
  CHECK(runs(events(trace)).empty());
  CHECK(well_formed(trace));
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    co_await pool.shutdown();
  }(trace));
  CHECK(trace.tasks() == 0);
  CHECK(well_formed(trace));
}

TEST_CASE("a task is queued, sent, running and received, in a worker that was forked, started and ended", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    const int result = co_await pool.submit({.name = "squared"}, square, 7);
    CHECK(result == 49);
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  CHECK(trace.tasks() == 1);
  const std::vector<Event> executed = runs(all, "squared");
  REQUIRE(executed.size() == 1);
  CHECK(count_ends(executed, "returned") == 1);
  check_order(all);
  REQUIRE(named(all, "forked").size() == 1);
  REQUIRE(named(all, "started").size() == 1);
  REQUIRE(named(all, "ended").size() == 1);
  CHECK(named(all, "forked")[0].at <= named(all, "started")[0].at);
  CHECK(named(all, "started")[0].at <= named(all, "ended")[0].at);
  // It is killed if it has no turn to leave within two seconds.
  if (named(all, "ended")[0].at < executed[0].at + executed[0].duration + 2e6)
    CHECK(field(named(all, "ended")[0].line, "how") == "exited with status 0");
  CHECK(well_formed(trace));
}

TEST_CASE("the executions of a worker follow one another, and are as long as they were", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(2);
    recorder.attach(pool);
    auto results = pool.map({.chunksize = 50}, busy, std::views::iota(100, 500));
    int count = 0;
    while (auto result = co_await results.next()) ++count;
    CHECK(count == 400);
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  const std::vector<Event> executed = runs(all);
  REQUIRE(executed.size() == 400);
  std::map<unsigned long, double> last_end;
  std::map<unsigned long, std::map<double, double>> by_worker;
  for (const Event& event : executed) {
    CHECK(event.duration >= 99.9);
    by_worker[event.thread][event.at] = event.at + event.duration;
  }
  std::size_t distinct = 0;
  for (const auto& [worker, spans] : by_worker) {
    double end = 0;
    for (const auto& [begin, until] : spans) {
      CHECK(begin >= end - 0.002);
      end = until;
    }
    distinct += spans.size();
  }
  CHECK(distinct == 400);
  // Each task once.
  std::map<unsigned long, int> numbers;
  for (const Event& event : executed) ++numbers[event.task];
  CHECK(numbers.size() == 400);
  CHECK(well_formed(trace));
}

TEST_CASE("an item whose worker died began after those before it ended", "[trace]") {
  TraceRecorder trace;
  cofork::run([](TraceRecorder& recorder) -> Task<> {
    Shared shared;
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    auto die_at_ten = [](int item) {
      if (item == 10) {
        Shared::at(0) = 1;
        ::raise(SIGKILL);
      }
      return busy(100);
    };
    auto results = pool.map({.chunksize = 20}, die_at_ten, std::views::iota(0, 20));
    // All that the worker has done is heard of long after it was done.
    pass_gate(0);
    pause_for(20ms);
    int count = 0;
    for (bool more = true; more;) {
      try {
        more = (co_await results.next()).has_value();
        count += more;
      } catch (const cofork::WorkerDied&) {
      }
    }
    CHECK(count == 19);
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  std::map<unsigned long, std::multimap<double, double>> by_worker;
  for (const Event& event : runs(all)) by_worker[event.thread].emplace(event.at, event.at + event.duration);
  CHECK(by_worker.size() == 2);
  for (const auto& [worker, spans] : by_worker) {
    double end = 0;
    for (const auto& [begin, until] : spans) {
      CHECK(begin >= end - 0.002);
      end = until;
    }
  }
}

TEST_CASE("a task that threw, one whose worker died and its replacement are told apart", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    Future<int> thrower = pool.submit({.name = "thrower"}, throw_it, 1);
    co_await until([&] { return thrower.done(); });
    Future<int> dying = pool.submit({.name = "dying"}, crash, 1);
    co_await until([&] { return dying.done(); });
    co_await pool.submit({.name = "after"}, square, 1);
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  CHECK(count_ends(runs(all, "thrower"), "threw") == 1);
  CHECK(count_ends(runs(all, "dying"), "its worker died") == 1);
  CHECK(count_ends(runs(all, "after"), "returned") == 1);
  REQUIRE(named(all, "ended").size() == 2);
  CHECK(field(named(all, "ended")[0].line, "how") == "was killed by SIGKILL");
  CHECK(runs(all, "after")[0].thread != runs(all, "dying")[0].thread);
  CHECK(trace.svg().find("its worker died (1)") != std::string::npos);
  CHECK(well_formed(trace));
}

TEST_CASE("a timeout shows the signals and how the task ended", "[trace]") {
  const Shared shared;
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    Future<int> late = pool.submit({.timeout = 20ms, .name = "late"}, never_end, 0);
    co_await until([&] { return late.done(); });
    CHECK(error_of<cofork::TimeoutError>(late).find("late exceeded") == 0);
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  REQUIRE(count_ends(runs(all, "late"), "timed out") == 1);
  REQUIRE(!named(all, "killed").empty());
  const Event killed = named(all, "killed")[0];
  CHECK(field(killed.line, "signal") == "SIGTERM");
  CHECK(killed.at >= runs(all, "late")[0].at + 20'000);
  CHECK(runs(all, "late")[0].duration >= 20'000);
}

TEST_CASE("what is killed while it runs and what is cancelled while it waits are in the trace", "[trace]") {
  const Shared shared;
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    Future<int> running = pool.submit({.grace = 1ms, .name = "stopped"}, never_end, 0);
    Future<int> waiting = pool.submit({.name = "never begun"}, square, 1);
    const bool begun = co_await until([] { return Shared::at(0) == 1; });
    REQUIRE(begun);
    CHECK(waiting.cancel());
    CHECK(running.kill());
    co_await until([&] { return running.done(); });
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  CHECK(count_ends(runs(all, "stopped"), "cancelled") == 1);
  CHECK(runs(all, "never begun").empty());
  REQUIRE(named(all, "cancelled").size() == 1);
  const Event cancelled = named(all, "cancelled")[0];
  CHECK(field(cancelled.line, "task") == "never begun");
  const std::vector<Event> queued = named(all, "queued");
  const auto begin = std::find_if(queued.begin(), queued.end(),
                                  [&](const Event& e) { return e.task == cancelled.task && e.phase == "b"; });
  REQUIRE(begin != queued.end());
  CHECK(begin->at <= cancelled.at);
  CHECK(well_formed(trace));
}

TEST_CASE("a retried task is there once for each worker that it had", "[trace]") {
  const Shared shared;
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    const int result = co_await pool.submit({.retries = 1, .name = "again"}, crash_once, 5);
    CHECK(result == 1);
    auto mapped = pool.map({.chunksize = 3, .retries = 1}, crash_once, std::vector{6, 7, 8});
    int count = 0;
    while (auto value = co_await mapped.next()) ++count;
    CHECK(count == 3);
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  const std::vector<Event> executed = runs(all, "again");
  REQUIRE(executed.size() == 2);
  CHECK(executed[0].task == executed[1].task);
  CHECK(executed[0].thread != executed[1].thread);
  CHECK(executed[0].at + executed[0].duration <= executed[1].at);
  CHECK(count_ends(executed, "its worker died") == 1);
  // Two executions of each of four tasks.
  std::map<unsigned long, int> times;
  for (const Event& event : runs(all)) ++times[event.task];
  CHECK(times.size() == 4);
  for (const auto& [task, executions] : times) CHECK(executions == 2);
}

TEST_CASE("the workers that replace used up ones share their row of the picture", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .max_tasks_per_child = 1});
    recorder.attach(pool);
    for (int i = 0; i < 3; ++i) {
      co_await pool.submit(square, i);
      const bool gone = co_await until([&] { return named(events(recorder), "ended").size() == std::size_t(i) + 1; });
      REQUIRE(gone);
    }
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  CHECK(named(all, "forked").size() == 3);
  CHECK(named(all, "ended").size() == 3);
  check_order(all);
  CHECK(trace.svg().find("workers 1 … 3") != std::string::npos);
}

TEST_CASE("names with quotes, markup, control characters and bytes that are no UTF-8 are escaped", "[trace]") {
  const std::vector<std::string> names{"\"quoted\" \\ and 'single'",
                                       "<script>&amp;</script>",
                                       "tab\tnew\nline\x01\x7f",
                                       "\xff\xfe broken \xc3",
                                       "\xed\xa0\x80 surrogate, \xc0\xaf overlong",
                                       "caf\xc3\xa9 \xf0\x9f\x8d\xb0",
                                       std::string("nul\0inside", 10)};
  TraceRecorder trace;
  run([](TraceRecorder& recorder, const std::vector<std::string>& all) -> Task<> {
    ProcessPoolExecutor pool({.max_workers = 1, .name = "\"<&\xff"});
    recorder.attach(pool);
    for (const std::string& name : all) co_await pool.submit({.name = name}, nothing);
    co_await pool.submit({.name = std::string(300, '<')}, nothing);
    co_await pool.shutdown();
  }(trace, names));
  CHECK(trace.tasks() == names.size() + 1);
  CHECK(well_formed(trace));
  const std::string svg = trace.svg(), json = trace.json();
  CHECK(svg.find("<script>") == std::string::npos);
  CHECK(svg.find("&lt;script&gt;&amp;amp;") != std::string::npos);
  CHECK(svg.find("caf\xc3\xa9 \xf0\x9f\x8d\xb0") != std::string::npos);
  CHECK(json.find("\\\"quoted\\\" \\\\ and 'single'") != std::string::npos);
  CHECK(json.find("tab\\u0009new\\u000aline\\u0001\\u007f") != std::string::npos);
  CHECK(json.find('\xff') == std::string::npos);
  CHECK(json.find("caf\xc3\xa9 \xf0\x9f\x8d\xb0") != std::string::npos);
}

TEST_CASE("a recorder keeps what a pool did that is gone", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    const Shared shared;
    {
      ProcessPoolExecutor pool(1);
      recorder.attach(pool);
      Future<int> running = pool.submit({.name = "cut off"}, never_end, 0);
      const bool begun = co_await until([] { return Shared::at(0) == 1; });
      REQUIRE(begun);
    }
    co_await cofork::sleep(0ms);
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  CHECK(count_ends(runs(all, "cut off"), "cancelled") == 1);
  CHECK(named(all, "killed").size() == 1);
  CHECK(named(all, "ended").size() == 1);
  CHECK(well_formed(trace));
}

TEST_CASE("a pool goes on when its recorder is gone, and can have another", "[trace]") {
  TraceRecorder later;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    {
      TraceRecorder first;
      first.attach(pool);
      co_await pool.submit(square, 1);
      CHECK(first.tasks() == 1);
    }
    const int four = co_await pool.submit(square, 2);
    CHECK(four == 4);
    recorder.attach(pool);
    const int nine = co_await pool.submit({.name = "third"}, square, 3);
    CHECK(nine == 9);
    co_await pool.shutdown();
  }(later));
  CHECK(later.tasks() == 1);
  CHECK(runs(events(later), "third").size() == 1);
  check_order(events(later));
}

TEST_CASE("a recorder that comes while tasks are running records how they end", "[trace]") {
  const Shared shared;
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    Future<int> early = pool.submit({.name = "early"}, wait_at_gate, 0, 1);
    const bool begun = co_await until([] { return Shared::at(0) == 1; });
    REQUIRE(begun);
    recorder.attach(pool);
    Shared::at(1) = 1;
    co_await early;
    co_await pool.shutdown();
  }(trace));
  CHECK(runs(events(trace), "early").size() == 1);
  CHECK(well_formed(trace));
}

TEST_CASE("two recorders of one pool, and one of another thread, are refused", "[trace][threads]") {
  TraceRecorder one, two;
  CHECK_THROWS_AS(TraceRecorder({.max_tasks = 0}), std::invalid_argument);
  ProcessPoolExecutor pool(1);
  one.attach(pool);
  CHECK_THROWS_AS(one.attach(pool), std::logic_error);
  CHECK_THROWS_AS(two.attach(pool), std::logic_error);
  bool refused = false;
  std::thread other([&] {
    ProcessPoolExecutor theirs(1);
    try {
      one.attach(theirs);
    } catch (const std::logic_error&) {
      refused = true;
    }
  });
  other.join();
  CHECK(refused);
}

TEST_CASE("several pools share a recorder", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor first(1), second(1);
    recorder.attach(first);
    recorder.attach(second);
    co_await first.submit({.name = "in the first"}, square, 1);
    co_await second.submit({.name = "in the second"}, square, 1);
    co_await first.shutdown();
    co_await second.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  REQUIRE(runs(all, "in the first").size() == 1);
  CHECK(field(runs(all, "in the first")[0].line, "pid") == "1");
  CHECK(field(runs(all, "in the second").at(0).line, "pid") == "2");
  CHECK(trace.svg().find("pool 2, worker 1") != std::string::npos);
}

TEST_CASE("a full recorder keeps the latest tasks and counts the others", "[trace]") {
  TraceRecorder trace({.max_tasks = 100});
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(2);
    recorder.attach(pool);
    auto results = pool.map(square, std::views::iota(0, 1000));
    while (auto result = co_await results.next()) {
    }
    co_await pool.shutdown();
  }(trace));
  CHECK(trace.tasks() == 1000);
  CHECK(trace.dropped() == 900);
  CHECK(runs(events(trace)).size() == 100);
  CHECK(trace.svg().find("900 earlier tasks were dropped") != std::string::npos);
  CHECK(well_formed(trace));
  trace.clear();
  CHECK(trace.tasks() == 0);
  CHECK(trace.dropped() == 0);
  CHECK(runs(events(trace)).empty());
}

TEST_CASE("a recorder that is cleared records the workers that are running on", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(1);
    recorder.attach(pool);
    co_await pool.submit({.name = "before"}, square, 1);
    recorder.clear();
    co_await pool.submit({.name = "after"}, square, 1);
    co_await pool.shutdown();
  }(trace));
  CHECK(runs(events(trace), "before").empty());
  CHECK(runs(events(trace), "after").size() == 1);
  CHECK(named(events(trace), "ended").size() == 1);
}

TEST_CASE("the picture of tens of thousands of tasks stays small", "[trace][limit:180]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(2);
    recorder.attach(pool);
    auto results = pool.map(same, std::views::iota(0, 20000));
    while (auto result = co_await results.next()) {
    }
    co_await pool.shutdown();
  }(trace));
  CHECK(trace.tasks() == 20000);
  CHECK(trace.svg().size() < 1'000'000);
  CHECK(well_formed(trace));
}

TEST_CASE("a trace that cannot be written says which", "[trace]") {
  const TraceRecorder trace;
  try {
    trace.write_json("/nonexistent/trace.json");
    FAIL("it was written");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::no_such_file_or_directory);
    CHECK(std::string(error.what()).find("/nonexistent/trace.json") != std::string::npos);
  }
  CHECK_THROWS_AS(trace.write_svg("/dev/full"), std::system_error);
}

TEST_CASE("the initializer of a worker is a task of its own", "[trace]") {
  TraceRecorder trace;
  run([](TraceRecorder& recorder) -> Task<> {
    ProcessPoolExecutor pool(cofork::PoolOptions{.max_workers = 1}, nothing);
    recorder.attach(pool);
    co_await pool.submit({.name = "first"}, square, 1);
    co_await pool.shutdown();
  }(trace));
  const std::vector<Event> all = events(trace);
  check_order(all);
  REQUIRE(runs(all, "the pool's initializer").size() == 1);
  CHECK(runs(all, "the pool's initializer")[0].at <= runs(all, "first").at(0).at);
}
