#include <cofork/runtime/mutex.hpp>
#include <stdexcept>

namespace cofork {

void Mutex::unlock() {
  if (!permits_.give()) throw std::logic_error("Mutex::unlock: it is not locked");
}

}  // namespace cofork
