#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/ipc/lifeline.hpp>
#include <cstdio>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {
/// The write end of the pipe whose read end is given: Linux opens it anew through /proc.
ipc::Descriptor open_write_end(int read_end) {
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", read_end);
  ipc::Descriptor write_end(::open(path.data(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!write_end.valid()) throw std::system_error(errno, std::generic_category(), "opening a channel's lifeline");
  return write_end;
}

bool can_open_write_end(int read_end) {
  static const bool can = [&] {
    try {
      open_write_end(read_end);
      return true;
    } catch (const std::system_error& error) {
      return error.code().value() == EMFILE || error.code().value() == ENFILE;
    }
  }();
  return can;
}
}  // namespace

Lifeline Lifeline::create() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) < 0)
    throw std::system_error(errno, std::generic_category(), "pipe2 for a channel");
  return Lifeline(ipc::Descriptor(ends[0]), ipc::Descriptor(ends[1]));
}

void Lifeline::hold() {
  if (!held()) write_end_ = open_write_end(read_end_.get());
}

void Lifeline::let_go() noexcept {
  // Without /proc it could never be held again.
  if (held() && can_open_write_end(read_end_.get())) write_end_.reset();
}

bool Lifeline::ended() const noexcept {
  pollfd watched = {read_end_.get(), POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1 && (watched.revents & POLLHUP) != 0;
}

ipc::Descriptor Lifeline::write_end() const {
  return held() ? ipc::Descriptor::duplicate(write_end_.get()) : open_write_end(read_end_.get());
}

void Lifeline::before_fork() {
  if (!held()) for_child_ = open_write_end(read_end_.get());
}

void Lifeline::after_fork_in_child(bool given) noexcept {
  if (given) {
    if (for_child_.valid()) write_end_ = std::move(for_child_);
  } else {
    for (ipc::Descriptor* closed : {&read_end_, &write_end_, &for_child_}) static_cast<void>(closed->release());
  }
}

void Lifeline::list_descriptors(std::vector<int>& to) const {
  for (const ipc::Descriptor* open : {&read_end_, &write_end_, &for_child_})
    if (open->valid()) to.push_back(open->get());
}

}  // namespace cofork::detail
