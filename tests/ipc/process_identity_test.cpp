#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cofork/ipc/process_identity.hpp>
#include <csignal>
#include <thread>

#include "support/catch.hpp"

using namespace cofork::detail;

namespace {
// Of a process that had the pid and started with the machine.
ProcessIdentity earlier_process(pid_t pid) { return static_cast<ProcessIdentity>(pid); }
}  // namespace

TEST_CASE("a process has ended when it was killed, reaped or not") {
  CHECK_FALSE(has_ended(open_process(own_identity())));
  int told[2];
  REQUIRE(::pipe(told) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto tell = [&]() noexcept {  // an exception must not end up in a second run of the tests
      const ProcessIdentity identity = own_identity();
      if (::write(told[1], &identity, sizeof identity) == sizeof identity) ::pause();
    };
    tell();
    ::_exit(0);
  }
  ProcessIdentity child = 0;
  REQUIRE(::read(told[0], &child, sizeof child) == sizeof child);
  for (const int end : told) ::close(end);
  const cofork::ipc::Descriptor early = open_process(child);
  CHECK_FALSE(has_ended(early));
  ::kill(pid, SIGKILL);
  siginfo_t info = {};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
  CHECK(has_ended(early));
  CHECK(has_ended(open_process(child)));
  ::waitpid(pid, nullptr, 0);
  CHECK(has_ended(early));
  CHECK_FALSE(open_process(child).valid());
}

TEST_CASE("a process whose pid is another process's or a thread's now has ended", "[threads]") {
  CHECK(has_ended(open_process(earlier_process(::getpid()))));
  std::atomic<pid_t> id = 0;
  std::atomic<bool> end = false;
  std::thread thread([&] {
    id = static_cast<pid_t>(::syscall(SYS_gettid));
    while (!end) std::this_thread::yield();
  });
  while (id == 0) std::this_thread::yield();
  CHECK(has_ended(open_process(earlier_process(id))));
  end = true;
  thread.join();
}
