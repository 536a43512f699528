// What a worker tells of the signal that ends it, and how the parent says it.
#pragma once

#include <cofork/ipc/crash_record.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace cofork::detail {

/// In a worker: from now on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP and SIGABRT leave the stack of the thread
/// that got them in `record`, and then end the process as they would have. Signals that have a handler already, as
/// sanitizers install, are left alone; so is everything in a build with a sanitizer. The calling thread gets a signal
/// stack of its own, so that overflowing the stack is told, too. `record` must stay mapped.
void report_crashes(ipc::CrashRecord& record) noexcept;
/// Frames that lie above this on the stack of the calling thread are not part of the report.
void report_crashes_below(const void* stack_end) noexcept;

/// A crash as the parent knows it; the worker may have written anything.
struct Crash {
  int signal = 0;  ///< 0: none was reported
  int code = 0;
  std::uintptr_t address = 0;
  std::uintptr_t stack_pointer = 0;
  std::vector<std::uintptr_t> stack;
};
/// A checked copy.
Crash read_crash(const ipc::CrashRecord& record);
/// Where it happened, in words: " at address 0x0 (not mapped)". Empty where there is nothing to say.
std::string describe_fault(const Crash& crash);

}  // namespace cofork::detail
