#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cofork/executors/fork_server.hpp>
#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include "executors/fork_server_harness.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace fork_server_test;

namespace {

void ignore_everything(std::span<const int>) { sleep_for_ever(); }
void return_at_once(std::span<const int>) {}

void sleep_after_telling(std::span<const int> descriptors) {
  tell(descriptors[0], 'r');
  sleep_for_ever();
}

void sleep_with_family(std::span<const int> descriptors) {
  fork_sleeper(false);
  fork_sleeper(true);
  sleep_after_telling(descriptors);
}

void leave_escaped_sleeper(std::span<const int> descriptors) {
  fork_sleeper(true);
  tell(descriptors[0], 'r');
}

void sleep_or_leave_escaped_sleeper(std::span<const int> descriptors) {
  if (descriptors.empty()) sleep_for_ever();
  leave_escaped_sleeper(descriptors);
}

std::string children_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

TEST_CASE("a worker gets its descriptors in the order in which they were given") {
  Pipe first, second;
  const WorkerExit exit = run_worker(
      [](std::span<const int> descriptors) {
        if (descriptors.size() != 2) _exit(1);
        tell(descriptors[0], '1');
        tell(descriptors[1], '2');
      },
      {first.writer.get(), second.writer.get()});
  REQUIRE(exit.status == 0);
  CHECK(first.read(1) == "1");
  CHECK(second.read(1) == "2");
}

TEST_CASE("the start and the end of a worker are reported with its id and pid") {
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, return_at_once, "test");
  server.start(77, {});
  loop.run_until([&] { return !events.exits.empty(); });
  REQUIRE(events.started.contains(77));
  CHECK(events.exits[0].id == 77);
  CHECK(events.exits[0].pid == events.started[77]);
  CHECK(events.exits[0].status_known);
  CHECK(events.exits[0].status == 0);
}

TEST_CASE("the exit status of a worker is reported") {
  const WorkerExit exit = run_worker([](std::span<const int>) { _exit(42); });
  REQUIRE(WIFEXITED(exit.status));
  CHECK(WEXITSTATUS(exit.status) == 42);
}

TEST_CASE("the signal that ended a worker is reported") {
  const WorkerExit exit = run_worker([](std::span<const int>) { raise(SIGSEGV); });
  REQUIRE(WIFSIGNALED(exit.status));
  CHECK(WTERMSIG(exit.status) == SIGSEGV);
}

TEST_CASE("what a worker used is reported") {
  static constexpr auto microseconds = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  const WorkerExit exit = run_worker([](std::span<const int>) {
    rusage usage = {};
    do {
      getrusage(RUSAGE_SELF, &usage);
    } while (microseconds(usage) < 20'000);
  });
  CHECK(microseconds(exit.usage) >= 20'000);
  CHECK(exit.usage.ru_maxrss > 0);
}

TEST_CASE("a signal reaches the children of a worker") {
  Loop loop;
  Recorder events;
  Pipe pipe;
  ForkServer server(
      loop, events,
      [](std::span<const int> descriptors) {
        fork_sleeper(false);
        sleep_after_telling(descriptors);
      },
      "test");
  server.start(1, std::array{pipe.writer.get()});
  REQUIRE(pipe.read(1) == "r");
  server.signal(1, SIGTERM);
  CHECK(pipe.ends());
  loop.run_until([&] { return !events.exits.empty(); });
  CHECK(WTERMSIG(events.exits[0].status) == SIGTERM);
}

TEST_CASE("the end of a worker is the end of its children") {
  Pipe pipe;
  Loop loop;
  Recorder events;
  ForkServer server(
      loop, events, [](std::span<const int>) { fork_sleeper(false); }, "test");
  server.start(1, std::array{pipe.writer.get()});
  loop.run_until([&] { return !events.exits.empty(); });
  CHECK(pipe.ends());
}

TEST_CASE("a process that escaped from its group ends when the last worker does") {
  Pipe pipe;
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, leave_escaped_sleeper, "test");
  server.start(1, std::array{pipe.writer.get()});
  CHECK(pipe.read(1) == "r");
  loop.run_until([&] { return !events.exits.empty(); });
  CHECK(pipe.ends());
}

TEST_CASE("a process that escaped from its group ends with the server at the latest") {
  Pipe pipe;
  Loop loop;
  Recorder events;
  {
    ForkServer server(loop, events, sleep_or_leave_escaped_sleeper, "test");
    server.start(1, {});
    server.start(2, std::array{pipe.writer.get()});
    loop.run_until([&] { return !events.exits.empty(); });
    CHECK(pipe.read(1) == "r");
  }
  CHECK(pipe.ends());
}

TEST_CASE("signals to unknown and to ended workers are ignored") {
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, return_at_once, "test");
  server.signal(5, SIGKILL);
  server.start(1, {});
  loop.run_until([&] { return !events.exits.empty(); });
  server.signal(1, SIGKILL);
  server.start(1, {});
  loop.run_until([&] { return events.exits.size() == 2; });
  CHECK(events.exits[1].status == 0);
}

TEST_CASE("bad requests are refused") {
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, ignore_everything, "test");
  server.start(1, {});
  CHECK_THROWS_AS(server.start(1, {}), std::invalid_argument);
  CHECK_THROWS_AS(server.start(2, std::vector<int>(254, 0)), std::invalid_argument);
}

TEST_CASE("hundreds of workers come and go and leave nothing behind") {
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, return_at_once, "test");
  constexpr std::uint64_t count = 300;
  for (std::uint64_t id = 0; id < count; ++id) server.start(id, {});
  loop.run_until([&] { return events.exits.size() == count; });
  CHECK(events.started.size() == count);
  CHECK(events.failed.empty());
  CHECK(children_of(server.pid()).empty());
}

TEST_CASE("requests wait while the template takes none, with their descriptors") {
  Loop loop;
  Recorder events;
  ForkServer server(
      loop, events, [](std::span<const int> descriptors) { tell(descriptors[0], 'x'); }, "test");
  REQUIRE(kill(server.pid(), SIGSTOP) == 0);
  constexpr std::uint64_t count = 500;
  Pipe pipe;
  for (std::uint64_t id = 0; id < count; ++id) {
    const Descriptor closed_at_once = Descriptor::duplicate(pipe.writer.get());
    server.start(id, std::array{closed_at_once.get()});
  }
  REQUIRE(kill(server.pid(), SIGCONT) == 0);
  loop.run_until([&] { return events.exits.size() == count; });
  CHECK(events.failed.empty());
  CHECK(pipe.read(count) == std::string(count, 'x'));
}

TEST_CASE("the destructor ends workers that are stopped or do not listen, and a stopped template") {
  Loop loop;
  Recorder events;
  Pipe pipe;
  {
    ForkServer server(
        loop, events,
        [](std::span<const int> descriptors) {
          signal(SIGTERM, SIG_IGN);
          tell(descriptors[0], 'r');
          raise(SIGSTOP);
          sleep_for_ever();
        },
        "test");
    server.start(1, std::array{pipe.writer.get()});
    server.start(2, std::array{pipe.writer.get()});
    CHECK(pipe.read(2) == "rr");
    REQUIRE(kill(server.pid(), SIGSTOP) == 0);
  }
  CHECK(pipe.ends());
  CHECK(events.exits.empty());
}

TEST_CASE("the template survives every signal but SIGKILL") {
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, return_at_once, "test");
  for (const int signo : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1}) kill(server.pid(), signo);
  server.start(1, {});
  loop.run_until([&] { return !events.exits.empty(); });
  CHECK(events.lost == 0);
}

TEST_CASE("when the template is killed every worker ends and is reported once, then the loss") {
  Loop loop;
  Recorder events;
  Pipe pipe;
  ForkServer server(
      loop, events,
      [](std::span<const int> descriptors) {
        fork_sleeper(false);
        sleep_after_telling(descriptors);
      },
      "test");
  constexpr std::size_t count = 20;
  for (std::uint64_t id = 0; id < count; ++id) server.start(id, std::array{pipe.writer.get()});
  loop.run_until([&] { return events.started.size() == count; });
  REQUIRE(pipe.read(count).size() == count);

  std::set<std::uint64_t> reported;
  std::size_t alive = 0;
  events.on_event = [&] {
    if (events.lost != 0) return;
    const WorkerExit& exit = events.exits.back();
    reported.insert(exit.id);
    alive += support::is_running(exit.pid) ? 1 : 0;
    server.start(1000 + exit.id, {});
    server.signal(exit.id, SIGKILL);
  };
  REQUIRE(kill(server.pid(), SIGKILL) == 0);
  loop.run_until([&] { return events.lost != 0; });
  CHECK(events.exits.size() == count);
  CHECK(reported.size() == count);
  CHECK(alive == 0);
  CHECK(std::none_of(events.exits.begin(), events.exits.end(), [](const WorkerExit& e) { return e.status_known; }));
  CHECK(events.failed.empty());
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(pipe.ends());
}

TEST_CASE("the destructor copes with a template that was killed before") {
  Loop loop;
  Recorder events;
  Pipe pipe;
  {
    ForkServer server(loop, events, sleep_after_telling, "test");
    for (std::uint64_t id = 0; id < 5; ++id) server.start(id, std::array{pipe.writer.get()});
    CHECK(pipe.read(5).size() == 5);
    REQUIRE(kill(server.pid(), SIGKILL) == 0);
  }
  CHECK(pipe.ends());
}

TEST_CASE("the server may be destroyed from each of its events") {
  const auto [worker_main, kill_template] = GENERATE(table<cofork::detail::WorkerMain, bool>(
      {{ignore_everything, false}, {return_at_once, false}, {ignore_everything, true}}));
  const auto event = GENERATE(1U, 2U, 3U);
  Loop loop;
  Recorder events;
  std::optional<ForkServer> server;
  server.emplace(loop, events, worker_main, "test");
  for (std::uint64_t id = 0; id < 3; ++id) server->start(id, {});
  if (kill_template) {
    loop.run_until([&] { return events.started.size() == 3; });
    kill(server->pid(), SIGKILL);
  }
  unsigned seen = 0;
  events.on_event = [&] {
    if (++seen == event) server.reset();
  };
  loop.run_until([&] { return !server.has_value(); });
  CHECK(seen == event);
}

TEST_CASE("a copy of the server in a forked process does nothing when destroyed") {
  Loop loop;
  Recorder events;
  auto server = std::make_unique<ForkServer>(loop, events, ignore_everything, "test");
  server->start(1, {});
  loop.run_until([&] { return events.started.size() == 1; });
  const pid_t copy = fork();
  if (copy == 0) {
    server.reset();
    _exit(0);
  }
  int status = -1;
  REQUIRE(waitpid(copy, &status, 0) == copy);
  CHECK(status == 0);
  server->signal(1, SIGUSR1);
  loop.run_until([&] { return !events.exits.empty(); });
  CHECK(WTERMSIG(events.exits[0].status) == SIGUSR1);
}

TEST_CASE("when the parent is killed no descendant is left") {
  Pipe pipe;
  const auto parent = support::in_child([&] {
    Loop loop;
    Recorder events;
    ForkServer server(loop, events, sleep_with_family, "test");
    for (std::uint64_t id = 0; id < 4; ++id) server.start(id, std::array{pipe.writer.get()});
    support::require(pipe.read(4) == "rrrr", "workers");
    raise(SIGKILL);
  });
  CHECK(parent.signal == SIGKILL);
  CHECK(pipe.ends());
}

TEST_CASE("the workers outlive the thread that made the server") {
  const auto outcome = support::in_child([] {
    Loop loop;
    Recorder events;
    std::optional<ForkServer> server;
    std::thread([&] { server.emplace(loop, events, ignore_everything, "test"); }).join();
    server->start(1, {});
    loop.run_until([&] { return events.started.size() == 1; });
    server->signal(1, SIGUSR1);
    loop.run_until([&] { return !events.exits.empty(); });
    support::require(WTERMSIG(events.exits[0].status) == SIGUSR1, "ended by the signal");
    server.reset();
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
  if (!support::thread_sanitizer) CHECK(outcome.output.find("2 threads were running") != std::string::npos);
}
