#include <sys/resource.h>

#include <cofork/executors/after_fork.hpp>
#include <cofork/executors/fork_server.hpp>
#include <system_error>

#include "executors/fork_server_harness.hpp"
#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace fork_server_test;

namespace {

void return_at_once(std::span<const int>) {}

void set_limit(pid_t pid, decltype(RLIMIT_NOFILE) resource, rlim_t soft) {
  rlimit limit = {};
  if (prlimit(pid, resource, nullptr, &limit) != 0) throw std::runtime_error("prlimit");
  limit.rlim_cur = soft;
  if (prlimit(pid, resource, &limit, nullptr) != 0) throw std::runtime_error("prlimit");
}

}  // namespace

TEST_CASE("a server that lacks descriptors says so") {
  const auto outcome = support::in_child([] {
    Loop loop;
    Recorder events;
    const rlim_t used = static_cast<rlim_t>(Descriptor::duplicate(0).get());
    // UBSan needs a descriptor when it first looks at a type.
    const std::system_error seen_before(EMFILE, std::generic_category(), "test");
    int refused = seen_before.code().value() == EMFILE ? 0 : -10;
    cofork::detail::flush_standard_streams();
    for (rlim_t spare = 0; spare < 3; ++spare) {  // one short of the template's socketpair and pidfd
      set_limit(0, RLIMIT_NOFILE, used + spare);
      try {
        const ForkServer server(loop, events, return_at_once, "test");
      } catch (const std::system_error& error) {
        refused += error.code().value() == EMFILE ? 1 : 0;
      }
    }
    support::require(refused >= 2, "refused");
    support::require(waitpid(-1, nullptr, 0) == -1, "no child is left");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}

TEST_CASE("a worker whose descriptors cannot be passed on fails, the next one does not") {
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, return_at_once, "test");
  set_limit(server.pid(), RLIMIT_NOFILE, 10);
  server.start(1, std::vector<int>(20, STDERR_FILENO));
  server.start(2, std::vector<int>(2, STDERR_FILENO));
  loop.run_until([&] { return !events.failed.empty() && !events.exits.empty(); });
  CHECK(events.failed == std::map<std::uint64_t, int>{{1, EMFILE}});
  CHECK(events.exits[0].id == 2);
}

TEST_CASE("a worker that cannot be forked fails") {
  const auto outcome = support::in_child([] {
    constexpr uid_t nobody = 65534;
    // The limit is not for root.
    if (geteuid() == 0) support::require(setresuid(nobody, nobody, nobody) == 0, "setresuid");
    Loop loop;
    Recorder events;
    ForkServer server(loop, events, return_at_once, "test");
    set_limit(server.pid(), RLIMIT_NPROC, 1);
    server.start(1, {});
    loop.run_until([&] { return !events.failed.empty(); });
    support::require(events.failed[1] == EAGAIN, "EAGAIN");
  });
  INFO(outcome.output);
  CHECK(outcome.succeeded());
}
