#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cofork/executors/crash_report.hpp>
#include <cofork/executors/stack_trace.hpp>
#include <cofork/runtime/sanitizers.hpp>
#include <csignal>
#include <cstring>

namespace cofork::detail {

namespace {

#ifdef COFORK_SANITIZED
constexpr bool leave_alone = true;
#else
constexpr bool leave_alone = false;
#endif

constexpr std::array fatal_signals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP, SIGABRT};
// The unwinder needs some kilobytes beside the frame that the kernel writes.
constexpr std::size_t signal_stack_size = 128 * 1024;
// If the unwinder waits for a lock that the crashed code holds.
constexpr unsigned patience_in_seconds = 3;

ipc::CrashRecord* crash_record = nullptr;
const void* stack_end_of_task = nullptr;
pid_t reporting_process = 0;

void on_fatal_signal(int signo, siginfo_t* info, void*) {
  // The disposition is the default again: whatever goes wrong in here ends the process by a signal, as it should.
  // A process that the task has forked has no record.
  if (::getpid() == reporting_process) {
    ::alarm(patience_in_seconds);
    ipc::CrashRecord& record = *crash_record;
    record.code = info->si_code;
    record.address = info->si_code > 0 ? reinterpret_cast<std::uintptr_t>(info->si_addr) : 0;
    record.signal = static_cast<std::uint32_t>(signo);
    record.stack_pointer = capture_stack(record.stack, record.frames, {.first = nullptr, .end = stack_end_of_task});
    ::alarm(0);
  }
  // What the kernel raised comes again with the instruction that caused it; what was sent does not.
  if (info->si_code <= 0 || signo == SIGSYS || signo == SIGTRAP) ::raise(signo);
}

/// All that is around the stack pointer is the stack, so that what is not mapped there is beyond its end.
bool overflowed_stack(const Crash& crash) {
  constexpr std::uintptr_t around = 64 * 1024;
  const std::uintptr_t below = crash.stack_pointer - std::min(crash.stack_pointer, around);
  return crash.stack_pointer != 0 && crash.address >= below && crash.address - below < 2 * around;
}

}  // namespace

void report_crashes(ipc::CrashRecord& record) noexcept {
  if (leave_alone) return;
  crash_record = &record;
  reporting_process = ::getpid();

  void* const memory =
      ::mmap(nullptr, signal_stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  stack_t stack = {};
  stack.ss_sp = memory;
  stack.ss_size = signal_stack_size;
  const bool own_stack = memory != MAP_FAILED && ::sigaltstack(&stack, nullptr) == 0;

  struct sigaction action = {};
  action.sa_sigaction = &on_fatal_signal;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_RESETHAND | SA_NODEFER) | (own_stack ? SA_ONSTACK : 0);
  ::sigemptyset(&action.sa_mask);
  for (const int signo : fatal_signals) {
    struct sigaction present = {};
    if (::sigaction(signo, nullptr, &present) != 0 || present.sa_handler != SIG_DFL) continue;
    ::sigaction(signo, &action, nullptr);
  }
}

void report_crashes_below(const void* stack_end) noexcept { stack_end_of_task = stack_end; }

Crash read_crash(const ipc::CrashRecord& record) {
  Crash crash;
  crash.signal = static_cast<int>(record.signal);
  if (std::find(fatal_signals.begin(), fatal_signals.end(), crash.signal) == fatal_signals.end()) return {};
  crash.code = record.code;
  crash.stack_pointer = static_cast<std::uintptr_t>(record.stack_pointer);
  crash.address = static_cast<std::uintptr_t>(record.address);
  const std::size_t frames = std::min<std::size_t>(record.frames, record.stack.size());
  crash.stack.assign(record.stack.begin(), record.stack.begin() + static_cast<std::ptrdiff_t>(frames));
  return crash;
}

std::string describe_fault(const Crash& crash) {
  if (crash.code <= 0) return {};  // sent by a process, perhaps itself
  const char* kind = nullptr;
  switch (crash.signal) {
    case SIGSEGV:
      if (overflowed_stack(crash)) return " (the stack overflowed)";
      if (crash.code == SEGV_MAPERR) kind = "nothing is mapped there";
      if (crash.code == SEGV_ACCERR) kind = "such access is not allowed there";
      // A non-canonical address, which the processor does not tell.
      if (!kind) return {};
      break;
    case SIGBUS:
      kind = crash.code == BUS_ADRALN ? "not aligned" : "no memory is behind the mapping";
      break;
    case SIGFPE:
      return crash.code == FPE_INTDIV ? " (an integer division by zero)" : std::string();
    default:
      return {};
  }
  return fmt::format(" at address {:#x} ({})", crash.address, kind);
}

}  // namespace cofork::detail
