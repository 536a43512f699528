// libuv closes descriptors by `syscall`, where the thread sanitizer does not see it: it would take the next file with
// the same number for the one that libuv had, and what two threads do with them for a race. Here it is told.
#include <dlfcn.h>
#include <sanitizer/linux_syscall_hooks.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdarg>

extern "C" long syscall(long number, ...) noexcept {
  static std::atomic<decltype(&::syscall)> libc;
  auto call = libc.load(std::memory_order_relaxed);
  if (call == nullptr) libc = call = reinterpret_cast<decltype(call)>(::dlsym(RTLD_NEXT, "syscall"));

  std::array<long, 6> arguments;
  va_list list;
  va_start(list, number);
  for (auto& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  const auto [a, b, c, d, e, f] = arguments;
  if (number == SYS_close) __sanitizer_syscall_pre_close(a);
  return call(number, a, b, c, d, e, f);
}
