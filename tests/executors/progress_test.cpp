#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <cofork/executors/fork_executor.hpp>
#include <cofork/executors/inline_executor.hpp>
#include <cofork/executors/progress.hpp>
#include <cofork/executors/progress_bar.hpp>
#include <cofork/executors/thread_pool_executor.hpp>
#include <cofork/runtime/spawn.hpp>
#include <ranges>
#include <stdexcept>

#include "pool_harness.hpp"

using namespace pool_test;
using cofork::ProcessPoolExecutor;
using cofork::Progress;
using cofork::ProgressReport;
using cofork::run;
using cofork::Stream;
using cofork::Task;

namespace {

/// A terminal, and what was written to it.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) {
    winsize size{24, columns, 0, 0};
    if (::openpty(&controller_, &terminal_, nullptr, nullptr, &size) != 0) throw std::runtime_error("openpty");
    if (::fcntl(controller_, F_SETFL, O_NONBLOCK) != 0) throw std::runtime_error("fcntl");
  }
  ~Terminal() {
    ::close(controller_);
    ::close(terminal_);
  }
  int descriptor() const { return terminal_; }

  const std::string& output() {
    char buffer[4096];
    for (ssize_t size; (size = ::read(controller_, buffer, sizeof buffer)) > 0;)
      output_.append(buffer, static_cast<std::size_t>(size));
    return output_;
  }
  std::size_t drawings() { return static_cast<std::size_t>(std::count(output().begin(), output().end(), '[')); }

 private:
  int controller_ = -1, terminal_ = -1;
  std::string output_;
};

/// What a terminal shows of the current line after all that was written.
std::string last_line(const std::string& output) {
  std::string line;
  for (std::size_t i = 0; i < output.size(); ++i) {
    if (output[i] == '\r')
      line.clear();  // every drawing begins so, and erases what is left of the one before
    else if (output.compare(i, 3, "\x1b[K") == 0)
      i += 2;
    else
      line += output[i];
  }
  return line;
}

Stream<int> count_to(int end) {
  for (int i = 0; i < end; ++i) co_yield i;
}
Stream<int> fail_after(int end) {
  for (int i = 0; i < end; ++i) co_yield i;
  throw std::runtime_error("broken input");
}
int fail_on_three(int x) {
  if (x == 3) throw std::runtime_error("three");
  return x;
}

using Reports = std::vector<ProgressReport>;
Progress::Callback into(Reports& reports) {
  return [&reports](const ProgressReport& report) { reports.push_back(report); };
}

}  // namespace

TEST_CASE("a map over a sized range knows its total, and every item is told of without an interval", "[progress]") {
  Reports reports;
  run([](Reports& all) -> Task<> {
    ProcessPoolExecutor pool(2);
    Progress progress({.interval = 0ns, .bar = false}, into(all));
    auto results = progress.watch(pool.map(square, std::views::iota(0, 20)));
    int sum = 0;
    while (auto result = co_await results.next()) sum += *result;
    CHECK(sum == 2470);
    CHECK(progress.report().finished);
    co_await pool.shutdown();
  }(reports));
  REQUIRE(reports.size() == 22);  // the beginning, the items, the end
  for (std::size_t i = 0; i < 21; ++i) {
    CHECK(reports[i].done == i);
    CHECK(reports[i].total == std::optional<std::uint64_t>(20));
    CHECK_FALSE(reports[i].finished);
  }
  CHECK(reports.back().finished);
  CHECK(reports.back().done == 20);
  CHECK(reports.back().rate > 0);
  CHECK(reports.back().left == std::optional(0ns));
  CHECK(reports.back().elapsed >= reports[20].elapsed);
}

TEST_CASE("every executor's map over a sized range knows its total", "[progress]") {
  run([]() -> Task<> {
    const auto total_of = []<class E>(E& executor) -> Task<> {
      Progress progress({.bar = false});
      auto results = progress.watch(executor.map(square, std::views::iota(0, 3)));
      CHECK(progress.report().total == std::optional<std::uint64_t>(3));
      while (co_await results.next()) CHECK(progress.report().total == std::optional<std::uint64_t>(3));
      CHECK(progress.report().done == 3);
      co_await executor.shutdown();
    };
    cofork::ForkExecutor forks(1);
    co_await total_of(forks);
    cofork::ThreadPoolExecutor threads(1);
    co_await total_of(threads);
    cofork::InlineExecutor here;
    co_await total_of(here);
  });
}

TEST_CASE("items that fail are counted as done and as failed", "[progress]") {
  Reports reports;
  run([](Reports& all) -> Task<> {
    ProcessPoolExecutor pool(1);
    Progress progress({.interval = 1h, .bar = false}, into(all));
    auto results = progress.watch(pool.map(fail_on_three, std::vector{1, 2, 3, 4}));
    for (int i = 0; i < 5; ++i) {
      try {
        co_await results.next();
      } catch (const std::runtime_error&) {
      }
    }
    co_await pool.shutdown();
  }(reports));
  REQUIRE(reports.size() == 2);
  CHECK(reports.back().done == 4);
  CHECK(reports.back().failed == 1);
  CHECK(reports.back().finished);
}

TEST_CASE("a stream of unknown length has no total unless one is given, and several add up", "[progress]") {
  run([]() -> Task<> {
    Progress unknown({.bar = false});
    auto one = unknown.watch(count_to(3));
    co_await one.next();
    CHECK(unknown.report().done == 1);
    CHECK_FALSE(unknown.report().total);
    CHECK_FALSE(unknown.report().left);

    Progress given({.total = 5, .bar = false});
    auto two = given.watch(count_to(3));
    auto three = given.watch(count_to(2));
    co_await std::move(two);
    CHECK_FALSE(given.report().finished);
    CHECK(given.report().total == std::optional<std::uint64_t>(5));
    co_await std::move(three);
    CHECK(given.report().finished);
    CHECK(given.report().done == 5);
  }());
}

TEST_CASE("reports wait for the interval, and the last state is told although nothing further happens", "[progress]") {
  Reports reports;
  run([](Reports& all) -> Task<> {
    Progress progress({.interval = 20ms, .bar = false}, into(all));
    auto values = progress.watch(count_to(1000));
    for (int i = 0; i < 500; ++i) co_await values.next();
    CHECK(all.size() < 100);
    const bool told = co_await until([&] { return all.back().done == 500; });
    CHECK(told);
    // And no more of the same.
    const std::size_t then = all.size();
    co_await cofork::sleep(60ms);
    CHECK(all.size() == then);
  }(reports));
  for (std::size_t i = 1; i < reports.size(); ++i) CHECK(reports[i].elapsed - reports[i - 1].elapsed >= 19ms);
}

TEST_CASE("nothing is drawn where there is no terminal", "[progress]") {
  int pipe[2];
  REQUIRE(::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
  run([](int descriptor) -> Task<> {
    Progress progress({.label = "silent", .descriptor = descriptor});
    co_await progress.watch(count_to(10));
  }(pipe[1]));
  char byte;
  CHECK(::read(pipe[0], &byte, 1) == -1);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("the bar ends its line when the stream has ended", "[progress]") {
  ::setenv("TERM", "xterm", 1);
  Terminal terminal(80);
  run([](int descriptor) -> Task<> {
    Progress progress({.total = 10, .label = "counting", .descriptor = descriptor});
    co_await progress.watch(count_to(10));
  }(terminal.descriptor()));
  const std::string output = terminal.output();
  CHECK(output.size() > 2);
  CHECK(output.substr(output.size() - 2) == "\r\n");  // the terminal's way to end a line
  CHECK(output.find("counting 100 % [====") != std::string::npos);
  CHECK(output.find("] 10/10") != std::string::npos);
}

TEST_CASE("the bar is erased by an exception, by a cancellation and when it ends before its streams", "[progress]") {
  ::setenv("TERM", "xterm", 1);
  SECTION("an exception of the consumer") {
    Terminal terminal(80);
    CHECK_THROWS_AS(run([](int descriptor) -> Task<> {
                      Progress progress({.total = 10, .descriptor = descriptor});
                      auto values = progress.watch(count_to(10));
                      co_await values.next();
                      throw std::runtime_error("enough");
                    }(terminal.descriptor())),
                    std::runtime_error);
    CHECK(terminal.output().find("10") != std::string::npos);
    CHECK(last_line(terminal.output()).empty());
    CHECK(terminal.output().find('\n') == std::string::npos);
  }
  SECTION("a cancelled consumer") {
    const Shared shared;
    Terminal terminal(80);
    run([](int descriptor) -> Task<> {
      ProcessPoolExecutor pool(1);
      auto consumer = cofork::spawn([](ProcessPoolExecutor& workers, int where) -> Task<> {
        Progress progress({.label = "waiting", .descriptor = where});
        auto values = progress.watch(workers.map(never_end, std::vector{0}));
        co_await values.next();
      }(pool, descriptor));
      const bool begun = co_await until([] { return Shared::at(0) == 1; });
      CHECK(begun);
      consumer.cancel();
      const bool over = co_await until([&] { return consumer.done(); });
      CHECK(over);
    }(terminal.descriptor()));
    CHECK(terminal.output().find("waiting   0 %") != std::string::npos);
    CHECK(last_line(terminal.output()).empty());
  }
  SECTION("a progress that ends first") {
    Terminal terminal(80);
    run([](int descriptor) -> Task<> {
      std::optional<Progress> progress(std::in_place, cofork::ProgressOptions{.total = 10, .descriptor = descriptor});
      auto values = progress->watch(count_to(10));
      co_await values.next();
      progress.reset();
      co_await std::move(values);
    }(terminal.descriptor()));
    CHECK(last_line(terminal.output()).empty());
  }
}

TEST_CASE("an input that throws ends the stream, and the bar keeps what was done", "[progress]") {
  Reports reports;
  run([](Reports& all) -> Task<> {
    Progress progress({.bar = false}, into(all));
    auto values = progress.watch(fail_after(2));
    bool thrown = false;
    try {
      while (co_await values.next()) {
      }
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    CHECK(thrown);
    const auto end = co_await values.next();
    CHECK_FALSE(end);
  }(reports));
  CHECK(reports.back().finished);
  CHECK(reports.back().done == 3);
  CHECK(reports.back().failed == 1);
}

TEST_CASE("the line fits the terminal, whatever its width", "[progress]") {
  ProgressReport report;
  report.done = 450;
  report.failed = 3;
  report.total = 1000;
  report.rate = 312;
  report.left = 1800ms;
  CHECK(cofork::detail::progress_line(report, "scoring", 120) ==
        "scoring  45 % [==================>                     ] 450/1000, 3 failed, 1.8 s left, 312/s");
  const std::string label = "l\xc3\xa4nger\x1b[2J\n";
  for (unsigned columns = 0; columns < 130; ++columns) {
    const std::string line = cofork::detail::progress_line(report, label, columns);
    const auto characters =
        std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    CHECK(characters <= std::max(1, static_cast<int>(columns) - 1));
    CHECK(line.find_first_of("\x1b\n") == std::string::npos);
    if (columns >= 60) CHECK(line.find("450/1000") != std::string::npos);
  }
  report.total.reset();
  report.left.reset();
  report.elapsed = 3723s;
  CHECK(cofork::detail::progress_line(report, "", 80) == "450 done, 3 failed, 1:02:03, 312/s");
}

TEST_CASE("a narrow terminal gets a short line", "[progress]") {
  ::setenv("TERM", "xterm", 1);
  Terminal terminal(20);
  run([](int descriptor) -> Task<> {
    Progress progress({.total = 10, .label = "counting", .descriptor = descriptor});
    co_await progress.watch(count_to(10));
  }(terminal.descriptor()));
  CHECK(terminal.output().find("counting 100 % 10/10") == std::string::npos);
  CHECK(terminal.output().find("counting 100 %") != std::string::npos);
}

TEST_CASE("options of a progress that make no sense are refused", "[progress]") {
  CHECK_THROWS_AS(Progress({.interval = -1ns}), std::invalid_argument);
  Stream<int> empty = count_to(1);
  Stream<int> other = std::move(empty);
  Progress progress({.bar = false});
  CHECK_THROWS_AS(progress.watch(std::move(empty)), cofork::InvalidStateError);
}
