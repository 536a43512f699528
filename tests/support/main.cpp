#define CATCH_CONFIG_RUNNER
// A crash is reported by the sanitizer's own handler, or by the signal that ctest shows beside the test's name.
#define CATCH_CONFIG_NO_POSIX_SIGNALS
#include <uv.h>

#include <cstdio>

#include "support/catch.hpp"
#include "support/leaks.hpp"
#include "support/listener.hpp"

extern "C" {
const char* __asan_default_options() { return "detect_stack_use_after_return=1:check_initialization_order=1"; }
const char* __ubsan_default_options() { return "print_stacktrace=1"; }
// Tests fork from processes that have threads.
const char* __tsan_default_options() { return "die_after_fork=0:halt_on_error=1:second_deadlock_stack=1"; }
}

namespace {

// libuv opens a pair of descriptors for signals with a process's first loop and keeps it: not a test's leak.
bool open_and_close_a_loop() {
  uv_loop_t loop;
  return uv_loop_init(&loop) == 0 && uv_loop_close(&loop) == 0;
}

// Catch2 3 itself fails a run in which no test matches, Catch2 2 does not.
bool meant_to_run_tests([[maybe_unused]] Catch::Session& session) {
#if CATCH_VERSION_MAJOR >= 3
  return false;
#else
  const auto& config = session.configData();
  return !(config.showHelp || config.libIdentify || config.listTests || config.listTestNamesOnly || config.listTags ||
           config.listReporters);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  support::isolate_process(argv);
  if (!open_and_close_a_loop()) {
    std::fprintf(stderr, "cannot make a libuv loop\n");
    return 1;
  }
  Catch::Session session;
  int result = session.applyCommandLine(argc, argv);
  if (result == 0) {
    result = session.run();
    const auto& [tests_run, leaks] = support::findings();
    if (leaks > 0) std::fprintf(stderr, "%d leaks, named above\n", leaks);
    if (result == 0 && leaks > 0) result = 1;
    if (result == 0 && tests_run == 0 && meant_to_run_tests(session)) {
      std::fprintf(stderr, "no test ran\n");
      result = 1;
    }
  }
  support::remove_temporary_directory();
  return result;
}
