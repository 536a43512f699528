#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cofork/runtime/standard_streams.hpp>
#include <string>
#include <system_error>

namespace cofork {

namespace {

/// An open file of our own where there can be one, with its own mode; otherwise a duplicate, whose mode is left alone.
ByteStream open_again(int descriptor, int access, const char* name) {
  struct stat status;
  if (::fstat(descriptor, &status) < 0)
    throw std::system_error(errno, std::generic_category(), std::string("open ") + name);
  using Kind = detail::StreamState::Kind;
  if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
    const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
    detail::Descriptor own(::open(path.c_str(), access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (own.valid())
      return ByteStream(detail::make_intrusive<detail::StreamState>(std::move(own), name, Kind::unknown));
  }
  return ByteStream(
      detail::make_intrusive<detail::StreamState>(detail::Descriptor::duplicate(descriptor), name, Kind::shared));
}

}  // namespace

ByteStream stdin_stream() { return open_again(STDIN_FILENO, O_RDONLY, "standard input"); }
ByteStream stdout_stream() { return open_again(STDOUT_FILENO, O_WRONLY, "standard output"); }
ByteStream stderr_stream() { return open_again(STDERR_FILENO, O_WRONLY, "standard error"); }

}  // namespace cofork
