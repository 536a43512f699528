#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/executors/parent_watch.hpp>
#include <csignal>
#include <cstdlib>
#include <system_error>

namespace cofork::detail {

ParentWatch::ParentWatch() {
  if (::gettid() == ::getpid()) return;
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  read_end_.reset(ends[0]);
  write_end_.reset(ends[1]);
}

void ParentWatch::in_child() noexcept {
  if (!read_end_.valid()) return;
  static_cast<void>(write_end_.release());  // closed already
  const int pipe = read_end_.get();
  const bool armed = ::fcntl(pipe, F_SETOWN, ::getpid()) == 0 && ::fcntl(pipe, F_SETSIG, SIGKILL) == 0 &&
                     ::fcntl(pipe, F_SETFL, O_RDONLY | O_ASYNC) == 0;
  pollfd closed = {pipe, 0, 0};
  if (!armed || ::poll(&closed, 1, 0) != 0) ::_exit(EXIT_FAILURE);
}

}  // namespace cofork::detail
