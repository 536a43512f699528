#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/executors/worker_memory.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/large_memory.hpp>
#include <cstdio>
#include <system_error>

namespace cofork::detail {

namespace {

constexpr std::int64_t interval = 1'000'000;

/// Of this process, which is a worker.
struct Watch {
  ipc::Descriptor file;
  std::uint64_t at_start = 0;
  std::int64_t measured_at = 0;
};
Watch watch;

/// Resident pages that are no file's and no shared memory's, in bytes; 0 if that cannot be read.
std::uint64_t anonymous_memory() {
  std::array<char, 128> text;
  const ssize_t size = ::pread(watch.file.get(), text.data(), text.size() - 1, 0);
  if (size <= 0) return 0;
  text[static_cast<std::size_t>(size)] = '\0';
  unsigned long resident = 0;
  unsigned long shared = 0;
  if (std::sscanf(text.data(), "%*u %lu %lu", &resident, &shared) != 2 || resident < shared) return 0;
  return static_cast<std::uint64_t>(resident - shared) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t growth() {
  const std::uint64_t now = anonymous_memory();
  return now > watch.at_start ? now - watch.at_start : 0;
}

}  // namespace

void watch_memory(ipc::TaskReceiver& receiver) {
  if (receiver.settings().max_memory == 0) return;
  watch.file.reset(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
  if (!watch.file.valid()) throw std::system_error(errno, std::generic_category(), "/proc/self/statm");
  watch.at_start = anonymous_memory();
}

void report_memory(ipc::TaskReceiver& receiver, std::int64_t now) {
  const std::uint64_t most = receiver.settings().max_memory;
  if (most == 0 || now - watch.measured_at < interval) return;
  watch.measured_at = now;
  std::uint64_t bytes = growth();
  if (bytes > most) {
    ipc::return_freed_memory();
    bytes = growth();
  }
  receiver.report_memory(bytes);
}

}  // namespace cofork::detail
