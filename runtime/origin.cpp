#include <cofork/runtime/origin.hpp>
#include <stdexcept>
#include <string>

namespace cofork::detail {

void Origin::fail(const char* what) {
  throw std::logic_error(std::string("this ") + what + " belongs to the process that this one was forked from");
}

}  // namespace cofork::detail
