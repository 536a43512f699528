#include <cofork/executors/local_call.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdio>
#include <stdexcept>

namespace cofork::detail {

void check_local(const SubmitOptions& options) {
  check_options(options);
  if (options.memory_limit != 0)
    throw std::invalid_argument("SubmitOptions::memory_limit: only a process of its own has limits of its own");
  if (options.cpu_limit.count() != 0)
    throw std::invalid_argument("SubmitOptions::cpu_limit: only a process of its own has limits of its own");
}

std::exception_ptr timeout_error(const std::string& name, std::chrono::nanoseconds timeout) {
  char text[200];
  std::snprintf(text, sizeof text, "%.100s exceeded its timeout of %g s", name.c_str(),
                std::chrono::duration<double>(timeout).count());
  return std::make_exception_ptr(TimeoutError(text));
}

}  // namespace cofork::detail
