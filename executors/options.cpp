#include <cofork/executors/options.hpp>
#include <stdexcept>
#include <string>

namespace cofork::detail {

namespace {
void check_duration(std::chrono::nanoseconds duration, const char* name) {
  if (duration.count() < 0) throw std::invalid_argument(std::string(name) + " is negative");
}
}  // namespace

void check_options(const SubmitOptions& options) {
  check_duration(options.timeout, "SubmitOptions::timeout");
  check_duration(options.grace, "SubmitOptions::grace");
  check_duration(options.cpu_limit, "SubmitOptions::cpu_limit");
}

void check_options(const MapOptions& options) {
  check_duration(options.timeout, "MapOptions::timeout");
  check_duration(options.item_timeout, "MapOptions::item_timeout");
}

}  // namespace cofork::detail
