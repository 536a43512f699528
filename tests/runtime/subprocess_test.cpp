#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/subprocess.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

constexpr SubprocessOptions piped{.in = Stdio::pipe, .out = Stdio::pipe, .err = Stdio::pipe};
constexpr SubprocessOptions quiet{.in = Stdio::null, .out = Stdio::null, .err = Stdio::null};

Subprocess shell(const std::string& script, SubprocessOptions options = piped) {
  return Subprocess::start({"/bin/sh", "-c", script}, options);
}

/// g++ 12 takes no braced list in a co_await expression.
template <class... A>
Subprocess start(SubprocessOptions options, A... arguments) {
  return Subprocess::start({arguments...}, options);
}

Task<std::string> output_of(Subprocess program, std::string_view input = {}) {
  const SubprocessOutput output = co_await program.communicate(input);
  co_return output.out;
}

std::string error_of(std::vector<std::string> argv, SubprocessOptions options = quiet) {
  try {
    (void)Subprocess::start(std::move(argv), options);
  } catch (const std::system_error& error) {
    return std::to_string(error.code().value()) + ": " + error.what();
  }
  return "started";
}

}  // namespace

TEST_CASE("a program gets its input and gives its output, its errors and its exit code") {
  run([]() -> Task<> {
    Subprocess program = shell("cat; echo problem >&2; exit 3");
    const SubprocessOutput output = co_await program.communicate("some text");
    CHECK(output.exitcode == 3);
    CHECK(output.out == "some text");
    CHECK(output.err == "problem\n");
    CHECK(program.exitcode() == 3);
    const SubprocessOutput again = co_await program.communicate();
    CHECK(again.exitcode == 3);
    CHECK(again.out.empty());
  });
}

TEST_CASE("the exit code tells the status, or the signal that killed it") {
  run([]() -> Task<> {
    const auto code_of = [](const char* script) -> Task<int> {
      Subprocess program = shell(script, quiet);
      const int code = co_await program.wait();
      co_return code;
    };
    const int good = co_await code_of("true");
    const int status = co_await code_of("exit 255");
    const int killed = co_await code_of("kill -9 $$");
    const int terminated = co_await code_of("kill -TERM $$");
    CHECK(good == 0);
    CHECK(status == 255);
    CHECK(killed == -SIGKILL);
    CHECK(terminated == -SIGTERM);
  });
}

TEST_CASE("programs are looked for in PATH, that of their environment if they have one") {
  const fs::path directory = fs::temp_directory_path() / "programs";
  fs::create_directory(directory);
  std::ofstream(directory / "greet") << "#!/bin/sh\necho hello $NAME\n";
  fs::permissions(directory / "greet", fs::perms::owner_all);
  std::ofstream(directory / "plain") << "text";
  run([&]() -> Task<> {
    const std::vector<std::string> environment{"PATH=/no/such:" + directory.string() + ":/bin", "NAME=you"};
    SubprocessOptions options{.out = Stdio::pipe, .env = environment};
    const std::string greeting = co_await output_of(start(options, "greet"));
    CHECK(greeting == "hello you\n");
    CHECK(error_of({"greet"}) == "2: start greet: No such file or directory");
    CHECK(error_of({"plain"}, options) == "13: start plain: Permission denied");
    const std::string all = co_await output_of(start(options, "/usr/bin/env"));
    CHECK(all == environment[0] + "\n" + environment[1] + "\n");
    options.env = {};
    options.cwd = directory.native();
    const std::string where = co_await output_of(start(options, "./greet"));
    CHECK(where.starts_with("hello"));
    const std::string path = co_await output_of(start(options, "pwd"));
    CHECK(path == directory.string() + "\n");
  });
  fs::remove_all(directory);
}

TEST_CASE("what cannot be started says so at once, and leaves nothing") {
  CHECK(error_of({"/no/such/program"}) == "2: start /no/such/program: No such file or directory");
  CHECK(error_of({"no-such-program"}) == "2: start no-such-program: No such file or directory");
  CHECK(error_of({""}) == "2: start : No such file or directory");
  CHECK(error_of({"/"}) == "13: start /: Permission denied");
  CHECK(error_of({"/etc/passwd"}) == "13: start /etc/passwd: Permission denied");
  SubprocessOptions elsewhere = quiet;
  elsewhere.cwd = "/no/such";
  CHECK(error_of({"true"}, elsewhere) == "2: start true in /no/such: No such file or directory");
  CHECK_THROWS_AS(Subprocess::start({}), std::invalid_argument);
  CHECK_THROWS_AS(Subprocess::start({"true", std::string("a\0b", 3)}), std::invalid_argument);
  const std::vector<std::string> nonsense{"NAME"};
  CHECK_THROWS_AS(Subprocess::start({"true"}, {.env = nonsense}), std::invalid_argument);
}

TEST_CASE("without free descriptors a program is not started, which is EMFILE") {
  if (support::needs_free_descriptors()) return;
  rlimit before;
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit few = before;
  few.rlim_cur = 64;
  ::setrlimit(RLIMIT_NOFILE, &few);
  std::vector<int> opened;
  for (int descriptor = ::dup(0); descriptor >= 0; descriptor = ::dup(0)) opened.push_back(descriptor);
  std::vector<std::string> errors;
  // With one more free each time until it works.
  for (;;) {
    try {
      Subprocess program = shell("exit", piped);
      break;
    } catch (const std::system_error& error) {
      errors.push_back(std::to_string(error.code().value()));
    }
    ::close(opened.back());
    opened.pop_back();
  }
  for (const int descriptor : opened) ::close(descriptor);
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(errors.size() > 3);
  CHECK(std::ranges::all_of(errors, [](const std::string& error) { return error == "24"; }));
}

TEST_CASE("a program has default signals and of our descriptors the standard ones") {
  // Inheritable, and with a handler and a mask that it must not get.
  ::signal(SIGUSR1, [](int) {});
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t some, before;
  ::sigemptyset(&some);
  ::sigaddset(&some, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &some, &before);
  run([]() -> Task<> {
    const std::string status = co_await output_of(start(piped, "/bin/cat", "/proc/self/status"));
    for (const char* none : {"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "SigCgt:\t0000000000000000"})
      CHECK(status.find(none) != std::string::npos);
    const int ours = ::open("/etc/hostname", O_RDONLY | O_CLOEXEC);
    const std::string open = co_await output_of(start(piped, "/bin/ls", "-l", "/proc/self/fd"));
    CHECK(open.find("/etc/hostname") == std::string::npos);
    CHECK(open.find("anon_inode") == std::string::npos);
    ::close(ours);
    // What any child gets, and the one by which the kernel ends it with us.
    FILE* const other = ::popen("exec /bin/ls -l /proc/self/fd", "re");
    std::string expected(4096, '\0');
    expected.resize(std::fread(expected.data(), 1, expected.size(), other));
    ::pclose(other);
    CHECK(std::ranges::count(open, '\n') == std::ranges::count(expected, '\n') + 1);
  });
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGUSR1, SIG_DFL);
}

TEST_CASE("a program leads a group of its own") {
  run([]() -> Task<> {
    Subprocess program = Subprocess::start({"/bin/cat"}, piped);
    CHECK(::getpgid(program.pid()) == program.pid());
    CHECK(!program.exitcode());
    program.in().close();
    const int code = co_await program.wait();
    CHECK(code == 0);
  });
}

TEST_CASE("the streams of a program are byte streams, those that are no pipes are std::logic_error") {
  run([]() -> Task<> {
    Subprocess program = Subprocess::start({"/bin/cat"}, {.in = Stdio::pipe, .out = Stdio::pipe, .err = Stdio::null});
    for (const char* line : {"one", "two"}) {
      co_await program.in().write(std::string(line) + "\n");
      const auto back = co_await program.out().read_line();
      CHECK(back == line);
    }
    program.in().close();
    const auto end = co_await program.out().read_line();
    CHECK(!end);
    CHECK_THROWS_AS(program.err(), std::logic_error);
    const int code = co_await program.wait();
    CHECK(code == 0);
    Subprocess other = Subprocess::start({"true"}, quiet);
    CHECK_THROWS_AS(other.in(), std::logic_error);
    CHECK_THROWS_AS(other.out(), std::logic_error);
    const bool refused = co_await support::throws<std::logic_error>(other.communicate("input"));
    CHECK(refused);
  });
}

TEST_CASE("signals reach the program, and nobody after its end") {
  run([]() -> Task<> {
    Subprocess program = shell("trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done");
    co_await program.out().read_line();
    program.send_signal(SIGUSR1);
    const int code = co_await program.wait();
    CHECK(code == 7);
    program.terminate();
    program.kill();
    program.send_signal(SIGUSR1);
    CHECK(program.exitcode() == 7);
    Subprocess terminated = Subprocess::start({"/bin/sleep", "100"}, quiet);
    terminated.terminate();
    const int by_signal = co_await terminated.wait();
    CHECK(by_signal == -SIGTERM);
  });
}

TEST_CASE("a program that somebody else has waited for ends with the code 255") {
  run([]() -> Task<> {
    Subprocess program = Subprocess::start({"true"}, quiet);
    CHECK(::waitpid(program.pid(), nullptr, 0) == program.pid());
    const int code = co_await program.wait();
    CHECK(code == 255);
  });
}

TEST_CASE("a hundred mebibytes go through a program in both directions", "[limit:240]") {
  run([]() -> Task<> {
    const std::size_t size = 100u * 1024 * 1024 / support::slowdown;
    std::string input(size, '\0');
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<char>((i * 2654435761u) >> 11);
    Subprocess program = shell("tee /dev/stderr");
    const SubprocessOutput output = co_await program.communicate(input);
    CHECK(output.exitcode == 0);
    CHECK((output.out == input));
    CHECK((output.err == input));
  });
}

TEST_CASE("that a program does not read its input is no error of communicate") {
  run([]() -> Task<> {
    const std::string input(10'000'000, 'x');
    Subprocess program = shell("exec <&-; echo done");
    const SubprocessOutput output = co_await program.communicate(input);
    CHECK(output.exitcode == 0);
    CHECK(output.out == "done\n");
    Subprocess some = Subprocess::start({"head", "-c", "3"}, piped);
    const SubprocessOutput three = co_await some.communicate(input);
    CHECK(three.out == "xxx");
  });
}

TEST_CASE("communicate without an input goes on where the input was ended before") {
  run([]() -> Task<> {
    Subprocess program = start(piped, "cat");
    co_await program.in().write("text");
    co_await program.in().shutdown_write();
    const SubprocessOutput output = co_await program.communicate();
    CHECK(output.out == "text");
    CHECK(output.exitcode == 0);
  });
}

TEST_CASE("errors of a program's streams name the program") {
  run([]() -> Task<> {
    Subprocess program = start(piped, "true");
    co_await program.wait();
    std::string message;
    try {
      co_await program.in().write("text");
    } catch (const std::system_error& error) {
      message = error.what();
    }
    CHECK(message == "write to standard input of true: Broken pipe");
  });
}

TEST_CASE("communicate reads until the last one who has the pipe closes it") {
  run([]() -> Task<> {
    Subprocess program = shell("echo first; (sleep 0.1; echo later) &");
    const SubprocessOutput output = co_await program.communicate();
    CHECK(output.exitcode == 0);
    CHECK(output.out == "first\nlater\n");
  });
}

TEST_CASE("a thousand programs leave nothing") {
  run([]() -> Task<> {
    const int count = 1000 / static_cast<int>(support::slowdown);
    int good = 0;
    for (int i = 0; i < count; ++i) {
      Subprocess program = Subprocess::start({"/bin/true"}, piped);
      const int code = co_await program.wait();
      good += code == 0;
    }
    CHECK(good == count);
  });
}
