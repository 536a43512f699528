#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cofork/executors/early_fork_server.hpp>
#include <cofork/runtime/gather.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "executors/fork_server_harness.hpp"
#include "executors/pool_harness.hpp"

using namespace pool_test;
using cofork::Future;
using cofork::PoolOptions;
using cofork::ProcessPoolExecutor;
using cofork::Task;
using cofork::WorkerDied;
using fork_server_test::Descriptor;
using fork_server_test::Pipe;

namespace {

/// While it lives, the standard error of this process is what it is given.
class StderrIs {
 public:
  explicit StderrIs(int descriptor) : before_(Descriptor::duplicate(STDERR_FILENO)) {
    std::fflush(stderr);
    if (::dup2(descriptor, STDERR_FILENO) < 0) throw std::runtime_error("dup2");
  }
  StderrIs(const StderrIs&) = delete;
  ~StderrIs() { ::dup2(before_.get(), STDERR_FILENO); }

 private:
  Descriptor before_;
};

/// As a user's `2> file`.
class StderrInFile {
 public:
  std::string text() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  bool has(const std::string& part) const { return text().find(part) != std::string::npos; }
  ~StderrInFile() { std::filesystem::remove(path_); }

 private:
  Descriptor open() const { return Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)); }

  std::filesystem::path path_ = std::filesystem::temp_directory_path() / "stderr";
  Descriptor file_ = open();
  StderrIs redirected_{file_.get()};
};

void say(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (count <= 0) ::_exit(98);
    done += static_cast<std::size_t>(count);
  }
}

// Tasks.

int say_and_abort(const std::string& text) {
  say(text);
  ::signal(SIGABRT, SIG_DFL);
  std::abort();
}

int say_and_return(const std::string& text) {
  say(text);
  return 0;
}

int say_and_wait(const std::string& text, int gate) {
  say(text);
  pass_gate(static_cast<std::size_t>(gate));
  return 0;
}

int say_lines(int writer, int lines) {
  for (int line = 0; line < lines; ++line) std::fprintf(stderr, "%d:%d\n", writer, line);
  return 0;
}

constexpr int piece = 4096;

// Counts its pieces.
int flood(int bytes) {
  const std::string text(piece, 'f');
  for (int done = 0; done < bytes; done += piece, ++Shared::at(0)) say(text);
  return bytes;
}

int say_at_gate(const std::string& text, int gate, int counter) {
  pass_gate(static_cast<std::size_t>(gate));
  say(text);
  return never_end(counter);
}

// Leaves a process of another session behind, which writes when gate 2 is open.
int abort_with_grandchild() {
  Pipe ready;
  if (::fork() == 0) {
    ::setsid();
    fork_server_test::tell(ready.writer.get(), 'r');
    pass_gate(2);
    say("the grandchild\n");
    for (;;) pause_for(1h);
  }
  ready.read(1);
  return say_and_abort("its parent\n");
}

// Of the file behind standard error, and how many descriptors there are.
std::array<std::uint64_t, 2> stderr_and_descriptors(int counter, int gate) {
  struct stat status = {};
  ::fstat(STDERR_FILENO, &status);
  wait_at_gate(counter, gate);
  const std::filesystem::directory_iterator open("/proc/self/fd");
  return {status.st_ino, static_cast<std::uint64_t>(std::distance(begin(open), end(open)))};
}

std::size_t resident_pages(pid_t pid) {
  std::size_t all = 0, resident = 0;
  std::ifstream("/proc/" + std::to_string(pid) + "/statm") >> all >> resident;
  return resident;
}

/// What is told of a task that writes `text` and aborts.
Task<std::string> death(ProcessPoolExecutor& pool, std::string text) {
  auto doomed = pool.submit(say_and_abort, std::move(text));
  try {
    co_await doomed;
  } catch (const WorkerDied& died) {
    co_return died.what();
  }
  co_return "no death";
}

/// What `what` says of standard error.
std::string told(const std::string& what) {
  const std::string before = "\nits standard error:\n";
  const auto at = what.find(before);
  return at != std::string::npos ? what.substr(at + before.size()) : "nothing";
}

}  // namespace

TEST_CASE("the last that a task wrote to standard error is told with its worker's death") {
  const StderrInFile file;
  const std::string message = "legacy: parse.c:12: parse: Assertion `size > 0' failed.\n";
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 1, .capture_stderr = true});
    const std::string what = co_await death(pool, message);
    INFO(what);
    CHECK(what.find("was killed by SIGABRT while it executed") != std::string::npos);
    CHECK(what.ends_with("\nits standard error:\nlegacy: parse.c:12: parse: Assertion `size > 0' failed."));
    // Whoever hears of the death finds what the worker wrote already there.
    CHECK(file.text() == message);
    const std::string silent = co_await death(pool, "");
    CHECK(told(silent) == "nothing");
  });
}

TEST_CASE("what a worker wrote before the task that it dies of is not told") {
  const StderrInFile file;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 1, .capture_stderr = true}, [] { say("the initializer\n"); });
    co_await pool.submit(say_and_return, "an earlier task\nwithout an end");
    const bool passed_on = co_await until([&] { return file.has("without an end"); });
    REQUIRE(passed_on);
    const std::string what = co_await death(pool, "the task\n");
    CHECK(told(what) == "the task");
  });
  CHECK(file.text() == "the initializer\nan earlier task\nwithout an endthe task\n");
}

TEST_CASE("what an initializer writes is told when its worker dies of it") {
  const StderrInFile file;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 1, .capture_stderr = true},
                             [] { say_and_abort("no licence\n"); });
    auto refused = pool.submit(square, 1);
    try {
      co_await refused;
      FAIL("a worker started");
    } catch (const cofork::BrokenProcessPool& broken) {
      CHECK(std::string(broken.what()).ends_with("no licence"));
    }
  });
}

TEST_CASE("of a long text the last lines are told, and nothing that a terminal would obey") {
  const StderrInFile file;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 1, .capture_stderr = true});
    std::string lines;
    for (int line = 0; line < 5000; ++line) lines += "line " + std::to_string(line) + "\n";
    const std::string what = co_await death(pool, lines);
    const std::string last = told(what);
    CHECK(last.size() > 2000);
    CHECK(last.size() < 2048);
    CHECK(last.starts_with("line "));
    CHECK(lines.ends_with("\n" + last + "\n"));
    CHECK(file.text() == lines);

    const std::string endless = co_await death(pool, std::string(100'000, 'x'));
    CHECK(told(endless) == std::string(2048, 'x'));
    const std::string controls = co_await death(pool, std::string("\x1b[31m\tred\r\0\x7f\n\xc2\x9b \xc3\xbc\n", 18));
    CHECK(told(controls) == "?[31m\tred???\n?? \xc3\xbc");
  });
}

TEST_CASE("what workers write is on the program's standard error while they run, and later complete and in order") {
  Shared shared;
  const StderrInFile file;
  constexpr int workers = 5;
  constexpr int lines = 2000;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = workers, .capture_stderr = true});
    auto waiting = pool.submit(say_and_wait, "at once\n", 1);
    const bool passed_on = co_await until([&] { return file.has("at once\n"); });
    CHECK(passed_on);
    CHECK_FALSE(waiting.done());
    shared[1] = 1;
    co_await waiting;
    std::vector<Future<int>> writers;
    for (int writer = 0; writer < workers; ++writer) writers.push_back(pool.submit(say_lines, writer, lines));
    co_await cofork::gather(std::move(writers));
    co_await pool.shutdown();
  });
  std::array<int, workers> next = {};
  std::istringstream text(file.text());
  std::string line;
  std::getline(text, line);
  int writer = 0, number = 0;
  char colon = 0;
  bool in_order = true;
  while (text >> writer >> colon >> number)
    in_order = in_order && writer < workers && number == next[static_cast<std::size_t>(writer)]++;
  CHECK(in_order);
  CHECK(text.eof());
  CHECK(next == std::array<int, workers>{lines, lines, lines, lines, lines});
}

TEST_CASE("a process that holds a dead worker's standard error delays nothing, and is heard as long as it runs") {
  Shared shared;
  const StderrInFile file;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 2, .capture_stderr = true});
    auto other = pool.submit(wait_at_gate, 0, 1);
    auto doomed = pool.submit(abort_with_grandchild);
    const bool died = co_await until([&] { return doomed.done(); });
    REQUIRE(died);
    CHECK(told(error_of<WorkerDied>(doomed)) == "its parent");
    shared[2] = 1;
    const bool heard = co_await until([&] { return file.has("the grandchild\n"); });
    CHECK(heard);
    shared[1] = 1;
    co_await other;
  });
}

TEST_CASE("without the option a worker's standard error is the program's, and is not told") {
  Shared shared;
  const StderrInFile file;
  struct stat status = {};
  ::fstat(STDERR_FILENO, &status);
  cofork::run([&]() -> Task<> {
    std::uint64_t descriptors = 0;
    for (const bool capture : {false, true}) {
      shared[0] = shared[1] = 0;
      ProcessPoolExecutor pool(PoolOptions{.max_workers = 3, .capture_stderr = capture});
      auto first = pool.submit(stderr_and_descriptors, 0, 1);
      auto second = pool.submit(stderr_and_descriptors, 0, 1);
      auto third = pool.submit(stderr_and_descriptors, 0, 1);
      const bool together = co_await until([&] { return shared[0] == 3; });
      REQUIRE(together);
      shared[1] = 1;
      for (auto* future : {&first, &second, &third}) {
        const auto [inode, open] = co_await *future;
        CHECK((inode == status.st_ino) == !capture);
        // Nor has it anything of the others' pipes.
        if (descriptors == 0) descriptors = open;
        CHECK(open == descriptors);
      }
      const std::string what = co_await death(pool, "a message\n");
      CHECK((told(what) == "a message") == capture);
    }
  });
}

TEST_CASE("standard error is captured in workers of the early fork server, for the pools that want it") {
  const StderrInFile file;
  cofork::fork_server::start();
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor captured(PoolOptions{.max_workers = 1, .capture_stderr = true}), plain(1);
    const std::string told_of = co_await death(captured, "captured\n");
    const std::string not_told = co_await death(plain, "not captured\n");
    CHECK(told(told_of) == "captured");
    CHECK(told(not_told) == "nothing");
  });
  cofork::fork_server::stop();
  CHECK(file.text() == "captured\nnot captured\n");
}

TEST_CASE("a flood on standard error passes through, and takes no memory") {
  Shared shared;
  const StderrInFile file;
  constexpr int bytes = 32 << 20;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 1, .capture_stderr = true});
    co_await pool.submit(flood, 1 << 20);
    const pid_t worker = co_await pool.submit(own_pid);
    const pid_t relay = parent_of(worker);
    const std::size_t before = resident_pages(relay);
    co_await pool.submit(flood, bytes);
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    CHECK(resident_pages(relay) < before + (std::size_t{4} << 20) * support::slowdown / page);
    co_await pool.shutdown();
  });
  CHECK(file.text().size() == bytes + (1 << 20));
}

TEST_CASE("while nobody reads standard error deaths are told, and what waits is read later") {
  Shared shared;
  Pipe pipe;
  const StderrIs redirected(pipe.writer.get());
  constexpr int bytes = 1 << 20;
  constexpr std::size_t all = bytes + 5;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 2, .capture_stderr = true});
    auto flooding = pool.submit(flood, bytes);
    // What fills both pipes, and what the template takes without being rid of it.
    const int most = 2 * ::fcntl(pipe.writer.get(), F_GETPIPE_SZ) + 64 * 1024;
    const bool full = co_await until([&] { return shared[0] * piece >= most; });
    REQUIRE(full);
    const std::string what = co_await death(pool, "dead\n");
    CHECK(told(what) == "dead");
    CHECK_FALSE(flooding.done());

    ::fcntl(pipe.reader.get(), F_SETFL, O_NONBLOCK);
    CHECK((::fcntl(pipe.writer.get(), F_GETFL) & O_NONBLOCK) == 0);
    std::string text;
    const bool everything = co_await until([&] {
      std::array<char, 4096> part;
      for (ssize_t count = 1; (count = ::read(pipe.reader.get(), part.data(), part.size())) > 0;)
        text.append(part.data(), static_cast<std::size_t>(count));
      return text.size() >= all;
    });
    CHECK(everything);
    CHECK(text.size() == all);
    CHECK(text.find("dead\n") != std::string::npos);
    co_await flooding;
  });
}

TEST_CASE("what a worker has written when its pool is destroyed is passed on") {
  Shared shared;
  const StderrInFile file;
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 1, .capture_stderr = true});
    auto endless = pool.submit(say_at_gate, "the last words\n", 1, 2);
    const std::vector<pid_t> workers = co_await workers_of(pool, 1);
    const pid_t relay = parent_of(workers[0]);
    ::kill(relay, SIGSTOP);
    const bool stopped = co_await until([&] {
      std::string pid, name, state;
      std::ifstream("/proc/" + std::to_string(relay) + "/stat") >> pid >> name >> state;
      return state == "T";
    });
    REQUIRE(stopped);
    shared[1] = 1;
    const bool written = co_await until([&] { return shared[2] == 1; });
    REQUIRE(written);
    CHECK(file.text().empty());
  });
  CHECK(file.text() == "the last words\n");
}

TEST_CASE("a pool ends although nobody reads standard error") {
  Shared shared;
  Pipe pipe;
  const StderrIs redirected(pipe.writer.get());
  cofork::run([&]() -> Task<> {
    ProcessPoolExecutor pool(PoolOptions{.max_workers = 1, .capture_stderr = true});
    auto flooding = pool.submit(flood, 1 << 20);
    const bool full = co_await until([&] {
      pollfd room = {pipe.writer.get(), POLLOUT, 0};
      return ::poll(&room, 1, 0) == 0;
    });
    REQUIRE(full);
    pool.kill_workers();
    co_await pool.shutdown();
    CHECK(flooding.done());
  });
}

TEST_CASE("workers for whose pipe there is no descriptor start without one") {
  using namespace fork_server_test;
  const StderrInFile file;
  constexpr std::uint64_t workers = 40;
  // UBSan needs a descriptor when it first looks at a type.
  const std::system_error seen_before(EMFILE, std::generic_category(), "test");
  REQUIRE(seen_before.code().value() == EMFILE);
  {
    Loop loop;
    Recorder events;
    Pipe gate;
    ForkServer server(
        loop, events,
        [](std::span<const int> given) {
          char letter = 0;
          say("x\n");
          ::_exit(::read(given[0], &letter, 1) == 0 ? 7 : 8);
        },
        "test");
    const rlimit few = {24, 24};
    REQUIRE(::prlimit(server.pid(), RLIMIT_NOFILE, &few, nullptr) == 0);
    const std::array<int, 1> given = {gate.reader.get()};
    for (std::uint64_t id = 1; id <= workers; ++id) server.start(id, given, true);
    loop.run_until([&] { return events.started.size() + events.failed.size() == workers || events.lost > 0; });
    CHECK(events.failed.empty());
    REQUIRE(events.lost == 0);
    gate.writer.reset();
    loop.run_until([&] { return events.exits.size() == workers; });
    std::size_t captured = 0;
    for (const WorkerExit& exit : events.exits) {
      CHECK(WEXITSTATUS(exit.status) == 7);
      if (exit.last_stderr == "x") ++captured;
    }
    CHECK(captured > 0);
    CHECK(captured < workers);
  }
  std::string expected;
  for (std::uint64_t id = 1; id <= workers; ++id) expected += "x\n";
  CHECK(file.text() == expected);
}
