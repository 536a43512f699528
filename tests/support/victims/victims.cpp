// Tests that break the rules on purpose: each must fail, saying why. See tests/support/victims/CMakeLists.txt.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/catch.hpp"

namespace {

[[noreturn]] void wait_for_the_end() {
  for (;;) pause();
}

void start_child() {
  if (fork() == 0) wait_for_the_end();
}

}  // namespace

TEST_CASE("leaks nothing") { CHECK(getpid() > 0); }

TEST_CASE("leaks a descriptor") { CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0); }

TEST_CASE("leaks a child") { start_child(); }

TEST_CASE("leaks a zombie") {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info;
  CHECK(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
}

TEST_CASE("leaks a grandchild") {
  const pid_t child = fork();
  if (child == 0) {
    start_child();
    _exit(0);
  }
  CHECK(waitpid(child, nullptr, 0) == child);
}

TEST_CASE("leaks a memory map") {
  const int fd = memfd_create("victim", MFD_CLOEXEC);
  CHECK(ftruncate(fd, 4096) == 0);
  CHECK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
  CHECK(close(fd) == 0);
}

TEST_CASE("leaks a shared memory object") {
  const int fd = shm_open(std::getenv("VICTIM_SHARED_MEMORY"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  CHECK(close(fd) == 0);
}

TEST_CASE("leaks a temporary file") {
  CHECK(std::ofstream(std::filesystem::temp_directory_path() / "forgotten").put('x').good());
}

TEST_CASE("takes too long", "[limit:1]") { wait_for_the_end(); }
