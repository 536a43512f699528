#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/ipc/end_line.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdio>
#include <system_error>

namespace cofork::detail {

namespace {
int access_of(EndLine::Side side) { return side == EndLine::Side::first ? O_RDONLY : O_WRONLY; }
}  // namespace

std::pair<EndLine, EndLine> EndLine::create() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) < 0)
    throw std::system_error(errno, std::generic_category(), "pipe2 for a connection");
  return {EndLine(Side::first, ipc::Descriptor(ends[0])), EndLine(Side::second, ipc::Descriptor(ends[1]))};
}

EndLine EndLine::received(Side side, ipc::Descriptor descriptor) {
  struct stat status = {};
  const int flags = ::fcntl(descriptor.get(), F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) != access_of(side) ||
      ::fstat(descriptor.get(), &status) < 0 || !S_ISFIFO(status.st_mode))
    throw DecodeError("malformed message: not a connection's descriptor");
  return EndLine(side, std::move(descriptor));
}

/// Opens the pipe anew: Linux does that through /proc, for a pipe without a name, too.
ipc::Descriptor EndLine::open(int flags) const {
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", descriptor_.get());
  return ipc::Descriptor(::open(path.data(), flags | O_CLOEXEC));
}

void EndLine::hold() {
  if (held_ || !valid()) return;
  descriptor_ = for_other_process();
  held_ = true;
}

void EndLine::let_go() noexcept {
  if (!held_) return;
  ipc::Descriptor name = open(O_PATH);
  if (!name.valid()) return;
  descriptor_ = std::move(name);
  held_ = false;
}

bool EndLine::other_side_gone() const noexcept {
  if (!held_) return false;
  pollfd watched = {descriptor_.get(), 0, 0};
  return ::poll(&watched, 1, 0) == 1 && (watched.revents & (POLLHUP | POLLERR)) != 0;
}

ipc::Descriptor EndLine::for_other_process() const {
  if (held_) return ipc::Descriptor::duplicate(descriptor_.get());
  ipc::Descriptor opened = open(access_of(side_) | O_NONBLOCK);
  if (!opened.valid()) throw std::system_error(errno, std::generic_category(), "taking up an end of a pipe");
  return opened;
}

void EndLine::before_fork() {
  if (valid() && !held_) for_child_ = for_other_process();
}

void EndLine::after_fork_in_child(bool given) noexcept {
  if (!given) {
    static_cast<void>(descriptor_.release());
    static_cast<void>(for_child_.release());
    held_ = false;
  } else if (for_child_.valid()) {
    descriptor_ = std::move(for_child_);
    held_ = true;
  }
}

void EndLine::list_descriptors(std::vector<int>& to) const {
  for (const ipc::Descriptor* open : {&descriptor_, &for_child_})
    if (open->valid()) to.push_back(open->get());
}

}  // namespace cofork::detail
