#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>

#include "support/forked.hpp"

namespace support {

/// Stops the process by SIGSTOP and returns when it stands still: until then it may go on for a while.
inline void stop(pid_t pid) {
  if (::kill(pid, SIGSTOP) != 0) throw std::system_error(errno, std::generic_category(), "kill");
  const bool stopped = eventually([&] {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto close = text.rfind(") ");
    return close != std::string::npos && text[close + 2] == 'T';
  });
  if (!stopped) throw std::runtime_error("the process goes on");
}

}  // namespace support
