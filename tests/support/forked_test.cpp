#include "support/forked.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"

using support::in_child;

TEST_CASE("a child's normal end, its output and its exit status are reported") {
  const auto child = in_child([] {
    std::printf("to stdout\n");
    std::fflush(stdout);
    std::fprintf(stderr, "to stderr\n");
  });
  CHECK(child.succeeded());
  CHECK(child.output == "to stdout\nto stderr\n");

  CHECK(in_child([] { _exit(7); }).exit_status == 7);
}

TEST_CASE("a child's exception, failed requirement and fatal signal are reported") {
  const auto thrown = in_child([] { throw std::runtime_error("out of cheese"); });
  CHECK(thrown.exit_status == 70);
  CHECK(thrown.output == "child failed: out of cheese\n");

  const auto refused = in_child([] { support::require(false, "two is three"); });
  CHECK(refused.exit_status == 71);
  CHECK(refused.output.find("required: two is three") != std::string::npos);

  const auto killed = in_child([] { raise(SIGKILL); });
  CHECK_FALSE(killed.exit_status);
  CHECK(killed.signal == SIGKILL);
}

TEST_CASE("a child that takes too long is killed with its own children") {
  const auto child = in_child(
      [] {
        if (fork() == 0) pause();
        pause();
      },
      std::chrono::milliseconds(50));
  CHECK(child.timed_out);
  CHECK(child.signal == SIGKILL);
}

TEST_CASE("a child's end is seen although a grandchild holds its output") {
  const auto child = in_child([] {
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      for (;;) pause();
    }
    std::printf("%d", grandchild);
  });
  CHECK(child.succeeded());
  const pid_t grandchild = std::stoi(child.output);
  CHECK(support::is_running(grandchild));
  CHECK(kill(grandchild, SIGKILL) == 0);
  CHECK(support::eventually([&] { return !support::is_running(grandchild); }));
}
