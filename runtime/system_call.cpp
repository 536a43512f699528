#include <unistd.h>

#include <cofork/runtime/system_call.hpp>
#include <string>
#include <system_error>

namespace cofork::detail {

void throw_errno(const char* operation, const char* subject) {
  const int error = errno;
  throw std::system_error(error, std::generic_category(), std::string(operation) + ' ' + subject);
}

int close_checked(Descriptor& descriptor) noexcept {
  const int number = descriptor.release();
  return number >= 0 && ::close(number) < 0 && errno != EINTR ? errno : 0;
}

}  // namespace cofork::detail
