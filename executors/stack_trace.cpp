#include <fmt/format.h>
#include <unwind.h>

#include <cofork/executors/stack_trace.hpp>
#include <cofork/executors/symbols.hpp>
#include <iterator>
#include <string_view>

namespace cofork::detail {

namespace {

struct Capture {
  std::span<std::uintptr_t> addresses;
  volatile std::uint32_t& count;
  const StackRange& range;
  std::uintptr_t stack_pointer = 0;
};

_Unwind_Reason_Code add_frame(_Unwind_Context* context, void* argument) {
  auto& [addresses, count, range, stack_pointer] = *static_cast<Capture*>(argument);
  int exact = 0;
  const std::uintptr_t address = _Unwind_GetIPInfo(context, &exact);
  if (stack_pointer == 0) {
    const bool first = range.first ? address == reinterpret_cast<std::uintptr_t>(range.first) : exact != 0;
    if (!first) return _URC_NO_REASON;
    stack_pointer = _Unwind_GetCFA(context);
  }
  const std::uint32_t found = count;
  if (address == 0 || found >= addresses.size()) return _URC_END_OF_STACK;
  if (range.end && _Unwind_GetCFA(context) > reinterpret_cast<std::uintptr_t>(range.end)) {
    if (found > 0) count = found - 1;
    return _URC_END_OF_STACK;
  }
  // After a call the address may be that of the next function already.
  addresses[found] = exact ? address : address - 1;
  count = found + 1;
  return _URC_NO_REASON;
}

/// From here on it is the library that runs a task.
bool is_of_the_worker(std::string_view frame) {
  return frame.starts_with("cofork::detail::RemoteCall<") || frame.starts_with("cofork::Loop::run_ready(");
}

}  // namespace

std::uintptr_t capture_stack(std::span<std::uintptr_t> addresses, volatile std::uint32_t& count,
                             const StackRange& range) noexcept {
  count = 0;
  Capture capture{addresses, count, range};
  _Unwind_Backtrace(&add_frame, &capture);
  return capture.stack_pointer;
}

std::string describe_stack(std::span<const std::uintptr_t> addresses) {
  std::string text;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (i > 0 && addresses[i] == addresses[i - 1]) {
      const std::size_t first = i;
      while (i + 1 < addresses.size() && addresses[i + 1] == addresses[i]) ++i;
      fmt::format_to(std::back_inserter(text), "\n  #{}..{} the same", first, i);
      continue;
    }
    const std::string frame = describe_address(addresses[i]);
    if (i > 0 && is_of_the_worker(frame)) break;
    fmt::format_to(std::back_inserter(text), "{}  #{} {}", i == 0 ? "" : "\n", i, frame);
  }
  return text;
}

}  // namespace cofork::detail
