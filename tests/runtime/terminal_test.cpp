#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <cofork/runtime/terminal.hpp>

#include <optional>
#include <system_error>

#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;
using namespace std::chrono_literals;

namespace {
struct PseudoTerminal {
  PseudoTerminal() : controller(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    REQUIRE(::grantpt(controller) == 0);
    REQUIRE(::unlockpt(controller) == 0);
    terminal = ::open(::ptsname(controller), O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal >= 0);
  }
  ~PseudoTerminal() {
    ::close(terminal);
    ::close(controller);
  }
  termios attributes() const {
    termios now;
    ::tcgetattr(terminal, &now);
    return now;
  }
  int controller;
  int terminal = -1;
};
}  // namespace

TEST_CASE("a terminal is known from other descriptors") {
  const PseudoTerminal pseudo;
  CHECK(is_terminal(pseudo.terminal));
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(!is_terminal(null));
  ::close(null);
  CHECK(!is_terminal(-1));
}

TEST_CASE("the size of the terminal comes from the environment, the terminal, or is 80 by 24") {
  const auto child = support::in_child(
      [] {
        ::unsetenv("COLUMNS");
        ::unsetenv("LINES");
        const int null = ::open("/dev/null", O_RDWR);
        for (const int descriptor : {0, 1}) ::dup2(null, descriptor);
        const int output = ::dup(2);
        ::dup2(null, 2);
        const bool fallback = terminal_size() == TerminalSize{80, 24};
        const PseudoTerminal pseudo;
        const winsize window = {33, 101, 0, 0};
        ::ioctl(pseudo.terminal, TIOCSWINSZ, &window);
        ::dup2(pseudo.terminal, 0);
        const bool of_terminal = terminal_size() == TerminalSize{101, 33};
        ::setenv("COLUMNS", "55", 1);
        const bool mixed = terminal_size() == TerminalSize{55, 33};
        ::setenv("COLUMNS", "wide", 1);
        const bool nonsense = terminal_size() == TerminalSize{101, 33};
        ::dup2(output, 2);
        support::require(fallback, "80 by 24");
        support::require(of_terminal, "of the terminal");
        support::require(mixed, "mixed");
        support::require(nonsense, "nonsense is ignored");
      },
      30s);
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("raw mode lasts as long as its guard") {
  const PseudoTerminal pseudo;
  const termios before = pseudo.attributes();
  REQUIRE((before.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG));
  {
    std::optional<RawMode> raw(RawMode(pseudo.terminal));
    CHECK((pseudo.attributes().c_lflag & (ICANON | ECHO | ISIG)) == 0);
    CHECK(pseudo.attributes().c_oflag == before.c_oflag);
    // A key arrives without the end of its line.
    CHECK(::write(pseudo.controller, "q", 1) == 1);
    char key = 0;
    CHECK(::read(pseudo.terminal, &key, 1) == 1);
    CHECK(key == 'q');
    const RawMode moved = std::move(*raw);
    raw.reset();
    CHECK((pseudo.attributes().c_lflag & ICANON) == 0);
  }
  CHECK(pseudo.attributes().c_lflag == before.c_lflag);
}

TEST_CASE("what is no terminal has no raw mode") {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  try {
    const RawMode raw(null);
    FAIL("raw");
  } catch (const std::system_error& error) {
    CHECK(error.code().value() == ENOTTY);
  }
  ::close(null);
}
