#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cofork/executors/resource_limits.hpp>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace cofork::detail {

namespace {

constexpr rlim_t memory_for_error = rlim_t{8} << 20;

/// What RLIMIT_DATA counts of this process now, in bytes.
rlim_t private_writable_memory() {
  std::FILE* const file = std::fopen("/proc/self/status", "re");
  if (!file) throw std::system_error(errno, std::generic_category(), "/proc/self/status");
  char line[256];
  unsigned long long kibibytes = 0;
  while (std::fgets(line, sizeof line, file))
    if (std::sscanf(line, "VmData: %llu kB", &kibibytes) == 1) break;
  std::fclose(file);
  return static_cast<rlim_t>(kibibytes) * 1024;
}

/// Lowers a limit; never raises one that the process has already.
void lower(int resource, rlim_t soft, rlim_t hard, const char* what) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0)
    throw std::system_error(errno, std::generic_category(), what);
  // RLIM_INFINITY is the greatest number.
  limit.rlim_cur = std::min(limit.rlim_cur, soft);
  limit.rlim_max = std::min(limit.rlim_max, hard);
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0)
    throw std::system_error(errno, std::generic_category(), what);
}

rlim_t plus(rlim_t used, std::uint64_t more) { return more < RLIM_INFINITY - used ? used + more : RLIM_INFINITY; }

}  // namespace

void limit_resources(const ResourceLimits& limits) {
  if (limits.memory != 0) {
    const rlim_t most = plus(private_writable_memory(), limits.memory);
    lower(RLIMIT_DATA, most, plus(most, memory_for_error), "limiting the memory of a task");
  }
  if (limits.cpu.count() > 0) {
    rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) != 0)
      throw std::system_error(errno, std::generic_category(), "the processor time of a task");
    // The kernel counts whole seconds; a process that is to be limited has just begun.
    const auto milliseconds = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                              (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
    const auto used = static_cast<rlim_t>((milliseconds + 500) / 1000);
    const rlim_t soft = plus(used, static_cast<std::uint64_t>(limits.cpu.count()));
    lower(RLIMIT_CPU, soft, plus(soft, 1), "limiting the processor time of a task");
  }
}

void allow_memory_for_error(const ResourceLimits& limits) noexcept {
  rlimit limit{};
  if (limits.memory == 0 || ::getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  // Where that does not work there is as much memory as before.
  static_cast<void>(::setrlimit(RLIMIT_DATA, &limit));
}

}  // namespace cofork::detail
