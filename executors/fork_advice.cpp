#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cofork/executors/fork_advice.hpp>
#include <cofork/runtime/sanitizers.hpp>
#include <cstdio>

namespace cofork::detail {

namespace {

constexpr double gibibyte = 1024.0 * 1024 * 1024;

/// The calling one included; 1 where that cannot be told, as under ThreadSanitizer, which has one of its own.
unsigned long running_threads() {
  struct stat tasks = {};
  if (thread_sanitizer || ::stat("/proc/self/task", &tasks) < 0) return 1;
  // One link for each beside . and ..
  return tasks.st_nlink > 2 ? static_cast<unsigned long>(tasks.st_nlink) - 2 : 1;
}

/// The resident memory of this process that a fork would have to copy the page tables of; 0 if that cannot be read.
double resident_memory() {
  std::FILE* const file = std::fopen("/proc/self/statm", "re");
  if (!file) return 0;
  unsigned long pages = 0;
  if (std::fscanf(file, "%*u %lu", &pages) != 1) pages = 0;
  std::fclose(file);
  return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

void warn_about_threads() {
  static std::atomic<bool> warned = false;
  const unsigned long threads = running_threads();
  if (threads <= 1 || warned.exchange(true)) return;
  std::fprintf(stderr,
               "cofork: %lu threads were running when a process was forked for the workers of pools; locks that others "
               "held stay locked in the workers. Call cofork::fork_server::start() at the top of main, or create the "
               "pool before starting threads.\n",
               threads);
}

void warn_about_snapshot_threads() {
  static std::atomic<bool> warned = false;
  const unsigned long threads = running_threads();
  if (threads <= 1 || warned.exchange(true)) return;
  std::fprintf(stderr,
               "cofork: %lu threads were running when a ForkExecutor forked this process; locks that others held stay "
               "locked in its children. Use a ProcessPoolExecutor, or end the threads before.\n",
               threads);
}

void advise_about_size() {
  static std::atomic<bool> advised = false;
  const double size = resident_memory();
  if (size < gibibyte || advised.exchange(true)) return;
  std::fprintf(stderr,
               "cofork: the process had %.1f GiB of memory when a pool forked its workers' template, which takes long "
               "and makes later writes slow. Call cofork::fork_server::start() at the top of main.\n",
               size / gibibyte);
}

}  // namespace cofork::detail
