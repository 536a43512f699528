#include <cofork/runtime/semaphore.hpp>
#include <limits>
#include <stdexcept>

namespace cofork {

namespace {
constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 2;

std::size_t checked(std::size_t permits) {
  if (permits > most) throw std::invalid_argument("Semaphore: the number of permits must not be negative");
  return permits;
}
}  // namespace

Semaphore::Semaphore(std::size_t permits) : permits_(checked(permits), most) {}

void Semaphore::release() {
  if (!permits_.give()) throw std::logic_error("Semaphore::release: too many permits");
}

}  // namespace cofork
