#include "support/time_limit.hpp"

#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace support {
namespace {

// Written before the alarm is set, read by its handler.
std::string message;

extern "C" void on_time_limit(int) {
  [[maybe_unused]] auto written = write(STDERR_FILENO, message.data(), message.size());
  void* frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
  signal(SIGABRT, SIG_DFL);
  abort();
}

}  // namespace

void set_time_limit(const std::string& test, unsigned seconds) {
  void* frame;
  backtrace(&frame, 1);  // the first call loads a library, which a signal handler may not
  message = "\ntime limit: \"" + test + "\" has not ended after " + std::to_string(seconds) + " s\n";
  struct sigaction action = {};
  action.sa_handler = on_time_limit;
  if (sigaction(SIGALRM, &action, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), "sigaction SIGALRM");
  }
  alarm(seconds);
}

void cancel_time_limit() { alarm(0); }

}  // namespace support
