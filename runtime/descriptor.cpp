#include <cofork/runtime/descriptor.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace cofork::detail {

Descriptor Descriptor::duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) {
    throw std::system_error(errno, std::generic_category(), "duplicate descriptor " + std::to_string(fd));
  }
  return Descriptor(copy);
}

void Descriptor::close_quietly(int fd) noexcept {
  // On Linux the descriptor is gone whatever close() says, and a destructor has nobody to tell.
  const int saved = errno;
  (void)::close(fd);
  errno = saved;
}

}  // namespace cofork::detail
