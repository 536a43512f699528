#include <sys/wait.h>

#include <cofork/runtime/run.hpp>
#include <cofork/runtime/standard_streams.hpp>
#include <string>

#include "runtime/net_peers.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork;

namespace {

Task<> number_lines() {
  ByteStream in = stdin_stream();
  ByteStream out = stdout_stream();
  int number = 0;
  while (auto line = co_await in.read_line()) co_await out.write(std::to_string(++number), " ", *line, "\n");
}

}  // namespace

TEST_CASE("standard streams work for a pipe, a socket and a file, and leave the descriptors' mode alone") {
  const int kind = GENERATE(0, 1, 2);
  const auto child = support::in_child([kind] {
    std::array<int, 2> ends = {-1, -1};
    if (kind == 0) support::require(::pipe(ends.data()) == 0, "pipe");
    if (kind == 1) support::require(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0, "socketpair");
    if (kind == 2) ends[0] = ends[1] = ::fileno(std::tmpfile());
    support::require(::write(ends[1], "a\nb\nc", 5) == 5, "write");
    if (kind == 2) support::require(::lseek(ends[0], 0, SEEK_SET) == 0, "lseek");
    support::require(::dup2(ends[0], 0) == 0, "dup2");
    if (kind != 2) ::close(ends[1]);
    run(number_lines());
    support::require((::fcntl(0, F_GETFL) & O_NONBLOCK) == 0, "standard input is non-blocking");
    support::require((::fcntl(1, F_GETFL) & O_NONBLOCK) == 0, "standard output is non-blocking");
  });
  INFO(child.output);
  CHECK(child.succeeded());
  CHECK(child.output == "1 a\n2 b\n3 c\n");
}

TEST_CASE("writing to a standard output that nobody reads is an error, not a signal") {
  const auto child = support::in_child([] {
    std::array<int, 2> ends = {-1, -1};
    support::require(::pipe(ends.data()) == 0, "pipe");
    const int saved = ::dup(1);
    support::require(::dup2(ends[1], 1) == 1, "dup2");
    ::close(ends[1]);
    ::close(ends[0]);
    int error = 0;
    const auto write = [&error]() -> Task<> {
      ByteStream out = stdout_stream();
      error = co_await support::error_of(out.write("x"));
    };
    run(write());
    ::dup2(saved, 1);
    support::require(error == EPIPE, "EPIPE");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}
