#include <sys/stat.h>

#include <atomic>
#include <cofork/executors/running_threads.hpp>
#include <cstdio>

namespace cofork::detail {

namespace {
#if defined(__SANITIZE_THREAD__)
constexpr bool has_hidden_thread = true;
#elif defined(__has_feature)
constexpr bool has_hidden_thread = __has_feature(thread_sanitizer);
#else
constexpr bool has_hidden_thread = false;
#endif
}  // namespace

unsigned long running_threads() noexcept {
  struct stat tasks = {};
  if (has_hidden_thread || ::stat("/proc/self/task", &tasks) < 0) return 1;
  // One link for each beside . and ..
  return tasks.st_nlink > 2 ? static_cast<unsigned long>(tasks.st_nlink) - 2 : 1;
}

void warn_about_snapshot_threads() noexcept {
  static std::atomic<bool> warned = false;
  const unsigned long threads = running_threads();
  if (threads <= 1 || warned.exchange(true)) return;
  std::fprintf(stderr,
               "cofork: %lu threads were running when a ForkExecutor forked this process; locks that others held stay "
               "locked in its children. Use a ProcessPoolExecutor, or end the threads before.\n",
               threads);
}

}  // namespace cofork::detail
