#include <unistd.h>

#include <cofork/runtime/file_descriptor.hpp>
#include <string>
#include <system_error>

namespace cofork::detail {

int FileDescriptor::reset(int number) noexcept {
  const int old = std::exchange(number_, number);
  if (old < 0) return 0;
  const int saved = errno;
  const int error = ::close(old) < 0 ? errno : 0;
  errno = saved;
  return error;
}

void throw_errno(const char* operation, const char* subject) {
  const int error = errno;
  throw std::system_error(error, std::generic_category(), std::string(operation) + ' ' + subject);
}

}  // namespace cofork::detail
