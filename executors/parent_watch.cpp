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

namespace {
// Out of the way of programs that count on the lowest numbers.
constexpr int lowest_inherited = 64;

int owner_of_signal(ParentWatch::Ends ends) { return ends == ParentWatch::Ends::group ? -::getpid() : ::getpid(); }
}  // namespace

ParentWatch::ParentWatch(Ends ends) : ends_(ends), in_main_thread_(::gettid() == ::getpid()) {
  if (in_main_thread_ && ends == Ends::child) return;
  std::array<int, 2> pipe = {-1, -1};
  if (::pipe2(pipe.data(), O_CLOEXEC) < 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  read_end_.reset(pipe[0]);
  write_end_.reset(pipe[1]);
}

void ParentWatch::in_child() noexcept {
  if (!read_end_.valid()) return;
  static_cast<void>(write_end_.release());  // closed already
  if (ends_ == Ends::group) {
    int inherited = ::fcntl(read_end_.get(), F_DUPFD, lowest_inherited);
    if (inherited < 0) inherited = ::fcntl(read_end_.get(), F_DUPFD, STDERR_FILENO + 1);
    if (inherited < 0) ::_exit(EXIT_FAILURE);
    read_end_.reset(inherited);
  }
  const int pipe = read_end_.get();
  const bool armed = ::fcntl(pipe, F_SETOWN, owner_of_signal(ends_)) == 0 && ::fcntl(pipe, F_SETSIG, SIGKILL) == 0 &&
                     ::fcntl(pipe, F_SETFL, O_RDONLY | O_ASYNC) == 0;
  pollfd closed = {pipe, 0, 0};
  if (!armed || ::poll(&closed, 1, 0) != 0) ::_exit(EXIT_FAILURE);
}

}  // namespace cofork::detail
