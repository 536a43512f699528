#include <cofork/ipc/blocking.hpp>
#include <cofork/runtime/loop.hpp>
#include <stdexcept>
#include <string>

namespace cofork::detail {

void require_no_loop(const char* function) {
  if (current_loop)
    throw std::logic_error(std::string(function) + " on the thread of a running loop: await its counterpart");
}

}  // namespace cofork::detail
