#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/shield.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/subprocess.hpp>
#include <cofork/runtime/wait_for.hpp>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;

namespace {

constexpr SubprocessOptions piped{.in = Stdio::pipe, .out = Stdio::pipe, .err = Stdio::pipe};
constexpr SubprocessOptions quiet{.in = Stdio::null, .out = Stdio::null, .err = Stdio::null};

Subprocess shell(const std::string& script, SubprocessOptions options = piped) {
  return Subprocess::start({"/bin/sh", "-c", script}, options);
}

/// Starts a program that waits for ever with one of its own, and gives the pid of that.
Task<pid_t> grandchild_of(Subprocess& program) {
  const std::optional<std::string> line = co_await program.out().read_line();
  co_return std::atoi(line->c_str());
}
constexpr const char* with_grandchild = "sleep 1000 & echo $!; wait";

bool has_ended(pid_t pid) {
  return support::eventually([pid] { return !support::is_running(pid); });
}

}  // namespace

TEST_CASE("cancelling the one who waits kills the program with its group, which has ended when it throws") {
  run([]() -> Task<> {
    Subprocess program = shell(with_grandchild);
    const pid_t grandchild = co_await grandchild_of(program);
    const bool late = co_await support::throws<TimeoutError>(wait_for(program.wait(), 10ms));
    CHECK(late);
    CHECK(program.exitcode() == -SIGKILL);
    CHECK(has_ended(grandchild));
  });
}

TEST_CASE("cancelling communicate kills the program with its group, in whatever state it is") {
  run([]() -> Task<> {
    const std::string input(1'000'000, 'x');
    // It reads nothing; it writes without end; it has closed everything; it has ended, but not what it started.
    for (const char* script : {"sleep 1000", "yes", "exec <&- >&- 2>&-; sleep 1000", "sleep 1000 & exit"}) {
      CAPTURE(script);
      Subprocess program = shell(script);
      const bool late = co_await support::throws<TimeoutError>(wait_for(program.communicate(input), 30ms));
      CHECK(late);
      CHECK(program.exitcode().has_value());
    }
  });
}

TEST_CASE("a cancelled coroutine that starts to wait ends the program too") {
  run([]() -> Task<> {
    Subprocess program = Subprocess::start({"sleep", "1000"}, quiet);
    const auto cancel_itself = [&]() -> Task<bool> {
      try {
        co_await sleep(1h);
      } catch (const CancelledError&) {
      }
      const bool refused = co_await support::throws<CancelledError>(program.wait());
      co_return refused;
    };
    Future<bool> future = spawn(cancel_itself());
    co_await support::turns(1);
    future.cancel();
    const bool refused = co_await future;
    CHECK(refused);
    CHECK(program.exitcode() == -SIGKILL);
  });
}

TEST_CASE("an end that came before the cancellation is delivered") {
  run([]() -> Task<> {
    Subprocess program = Subprocess::start({"true"}, quiet);
    REQUIRE(support::eventually([&] { return program.exitcode().has_value(); }));
    const auto wait = [&]() -> Task<int> { return program.wait(); };
    Future<int> waiting = spawn(wait());
    co_await support::turns(1);
    waiting.cancel();
    const int code = co_await waiting;
    CHECK(code == 0);
  });
}

TEST_CASE("several wait for one program") {
  run([]() -> Task<> {
    Subprocess program = Subprocess::start({"/bin/cat"}, piped);
    Future<int> one = spawn(Task<int>(program.wait()));
    Future<int> two = spawn(Task<int>(program.wait()));
    co_await support::turns(2);
    CHECK(!one.done());
    program.in().close();
    auto [first, second] = co_await gather(one, two);
    CHECK(first == 0);
    CHECK(second == 0);
  });
}

TEST_CASE("shield keeps a program from the cancellation of who waits for it") {
  run([]() -> Task<> {
    Subprocess program = Subprocess::start({"/bin/cat"}, piped);
    const bool late = co_await support::throws<TimeoutError>(wait_for(shield(program.wait()), 5ms));
    CHECK(late);
    CHECK(!program.exitcode());
    program.in().close();
    const int code = co_await program.wait();
    CHECK(code == 0);
  });
}

TEST_CASE("a coroutine that is destroyed while it waits takes the program along") {
  run([]() -> Task<> {
    for (const bool talks : {false, true}) {
      CAPTURE(talks);
      Subprocess program = shell(with_grandchild);
      const pid_t grandchild = co_await grandchild_of(program);
      const auto wait = [&]() -> Task<> {
        if (talks)
          co_await program.communicate();
        else
          co_await program.wait();
      };
      auto started = std::make_unique<support::Started>(wait());
      co_await support::turns(1);
      started->destroy();
      CHECK(has_ended(grandchild));
      CHECK(support::eventually([&] { return program.exitcode() == -SIGKILL; }));
    }
  });
}

TEST_CASE("a program does not outlive its object, nor does what is in its group") {
  run([]() -> Task<> {
    pid_t grandchild = 0, pid = 0;
    {
      Subprocess program = shell(with_grandchild);
      grandchild = co_await grandchild_of(program);
      pid = program.pid();
    }
    CHECK(::kill(pid, 0) < 0);
    CHECK(has_ended(grandchild));
  });
}

TEST_CASE("what a program leaves in its group ends with the object") {
  run([]() -> Task<> {
    pid_t left = 0;
    {
      Subprocess program = shell("sleep 1000 <&- >&- 2>&- & echo $!");
      const SubprocessOutput output = co_await program.communicate();
      left = std::atoi(output.out.c_str());
      CHECK(output.exitcode == 0);
      CHECK(support::is_running(left));
    }
    CHECK(has_ended(left));
  });
}

TEST_CASE("who waits for a program whose object is destroyed gets its exit code") {
  run([]() -> Task<> {
    auto program = std::make_unique<Subprocess>(Subprocess::start({"sleep", "1000"}, quiet));
    Future<int> waiting = spawn(Task<int>(program->wait()));
    co_await support::turns(2);
    program.reset();
    const int code = co_await waiting;
    CHECK(code == -SIGKILL);
  });
}

TEST_CASE("assigning another program ends the first") {
  Subprocess program = Subprocess::start({"sleep", "1000"}, quiet);
  const pid_t first = program.pid();
  program = Subprocess::start({"sleep", "1000"}, quiet);
  CHECK(::kill(first, 0) < 0);
  Subprocess moved = std::move(program);
  CHECK(!moved.exitcode());
  CHECK_THROWS_AS(program.exitcode(), std::logic_error);
}

TEST_CASE("no program survives the SIGKILL of the one that started it") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    ::close(ends[0]);
    run([&]() -> Task<> {
      Subprocess program = shell(with_grandchild);
      const pid_t grandchild = co_await grandchild_of(program);
      const pid_t pids[] = {program.pid(), grandchild};
      (void)!::write(ends[1], pids, sizeof pids);
      co_await program.wait();
    });
    ::_exit(0);
  }
  ::close(ends[1]);
  pid_t pids[2] = {};
  CHECK(::read(ends[0], pids, sizeof pids) == sizeof pids);
  CHECK(support::is_running(pids[0]));
  CHECK(support::is_running(pids[1]));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  CHECK(has_ended(pids[0]));
  CHECK(has_ended(pids[1]));
  ::close(ends[0]);
}

TEST_CASE("a program ends with the thread that started it") {
  std::optional<Subprocess> program;
  std::thread([&] { program.emplace(Subprocess::start({"sleep", "1000"}, quiet)); }).join();
  CHECK(support::eventually([&] { return program->exitcode() == -SIGKILL; }));
}

TEST_CASE("programs are started from several threads at once", "[threads]") {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) {
        Subprocess program = shell("exit 1", quiet);
        good += support::eventually([&] { return program.exitcode() == 1; });
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 40);
}

TEST_CASE("a program may outlive its loop, and be waited for on the next") {
  std::optional<Subprocess> program;
  run([&]() -> Task<> {
    program.emplace(Subprocess::start({"/bin/cat"}, piped));
    const bool late = co_await support::throws<TimeoutError>(wait_for(shield(program->wait()), 2ms));
    CHECK(late);
  });
  // The end of the first loop cancelled what still waited.
  const int code = run([&]() -> Task<int> { return program->wait(); });
  CHECK(code == -SIGKILL);
}
