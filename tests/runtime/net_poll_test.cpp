#include <sys/eventfd.h>

#include <cofork/runtime/poll.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <stdexcept>
#include <string>
#include <system_error>

#include "runtime/coroutines.hpp"
#include "runtime/net_peers.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;
using support::turns;

namespace {
Task<> until_readable(Poll& poll) { co_await poll.readable(); }
}  // namespace

TEST_CASE("a Poll tells when a descriptor is readable and writable, and leaves its mode alone") {
  const support::Peer event(::eventfd(0, EFD_CLOEXEC));
  run([&]() -> Task<> {
    Poll poll(event.get());
    co_await poll.writable();
    Future<void> first = spawn(until_readable(poll));
    const bool late = co_await support::throws<TimeoutError>(wait_for(poll.readable(), 1ms));
    CHECK(late);
    CHECK(!first.done());
    CHECK((::fcntl(event.get(), F_GETFL) & O_NONBLOCK) == 0);
    REQUIRE(::eventfd_write(event.get(), 1) == 0);
    co_await first;
    eventfd_t value = 0;
    REQUIRE(::eventfd_read(event.get(), &value) == 0);

    Future<void> second = spawn(until_readable(poll));
    co_await turns(2);
    poll.close();
    const int error = co_await support::error_of(std::move(second));
    CHECK(error == ECANCELED);
    CHECK_THROWS_AS(poll.readable(), std::logic_error);
  });
  CHECK(::fcntl(event.get(), F_GETFD) >= 0);
}

TEST_CASE("two Polls on one descriptor are an error") {
  const support::Peer event(::eventfd(0, EFD_CLOEXEC));
  run([&]() -> Task<> {
    Poll first(event.get()), second(event.get());
    const Future<void> waiting = spawn(until_readable(first));
    co_await turns(2);
    const int error = co_await support::error_of(second.readable());
    CHECK(error == EEXIST);
    std::string message;
    try {
      co_await second.readable();
    } catch (const std::system_error& failure) {
      message = failure.what();
    }
    CHECK(message == "watch descriptor " + std::to_string(event.get()) + ": File exists");
  });
}
