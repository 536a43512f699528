#include <cxxabi.h>
#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cofork/executors/stack_trace.hpp>
#include <cofork/executors/throw_trace.hpp>
#include <cofork/runtime/sanitizers.hpp>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <typeinfo>

namespace cofork::detail {

namespace {

using Throw = void (*)(void*, std::type_info*, void (*)(void*));

// Throws whose objects are alive at the same time: an exception, what is nested in it, and a few that were kept.
constexpr std::size_t traces_kept = 8;

struct Trace {
  const void* object = nullptr;
  const std::type_info* type = nullptr;
  std::uint32_t count = 0;
  std::array<std::uintptr_t, max_stack_frames> addresses{};
};

struct ThreadTraces {
  const void* stack_end = nullptr;
  std::size_t next = 0;
  std::array<Trace, traces_kept> traces;
};
constinit thread_local ThreadTraces thread_traces;

std::atomic<Throw> next_throw{nullptr};

// Of a static libstdc++ it is in the same member as __cxa_throw, which so is linked in any case and goes before ours.
[[gnu::used]] void* const member_of_the_library = reinterpret_cast<void*>(&abi::__cxa_init_primary_exception);

Throw find_next_throw() noexcept {
  Throw next = next_throw.load(std::memory_order_relaxed);
  if (next) return next;
  next = reinterpret_cast<Throw>(::dlsym(RTLD_NEXT, "__cxa_throw"));
  next_throw.store(next, std::memory_order_relaxed);
  return next;
}

[[maybe_unused]] void note(const void* object, const std::type_info* type, const void* thrower) noexcept {
  ThreadTraces& thread = thread_traces;
  Trace& trace = thread.traces[thread.next++ % traces_kept];
  trace.object = object;
  trace.type = type;
  capture_stack(trace.addresses, trace.count, {.first = thrower, .end = thread.stack_end});
}

}  // namespace

void prepare_throw_traces() noexcept { find_next_throw(); }

void trace_throws(const void* stack_end) noexcept { thread_traces.stack_end = stack_end; }

const void* exception_object(const std::exception_ptr& error) noexcept {
  // It is all that an exception_ptr holds, by the library's ABI.
  static_assert(sizeof(std::exception_ptr) == sizeof(void*));
  const void* object;
  std::memcpy(&object, &error, sizeof object);
  return object;
}

std::span<const std::uintptr_t> throw_trace(const std::exception_ptr& error) noexcept {
  const ThreadTraces& thread = thread_traces;
  const void* const object = exception_object(error);
  if (!object) return {};
  for (std::size_t age = 1; age <= traces_kept && age <= thread.next; ++age) {
    const Trace& trace = thread.traces[(thread.next - age) % traces_kept];
    if (trace.object != object) continue;
    // Another exception may have had the same memory.
    if (*trace.type != *error.__cxa_exception_type()) return {};
    return {trace.addresses.data(), trace.count};
  }
  return {};
}

}  // namespace cofork::detail

// The sanitizers have one of their own.
#ifndef COFORK_SANITIZED

/// Called in place of libstdc++'s by everything in the program, and calls that. Weak, so that it gives way to any
/// other.
extern "C" [[gnu::weak, gnu::visibility("default")]] void __cxa_throw(void* object, std::type_info* type,
                                                                      void (*destroy)(void*)) {
  using namespace cofork::detail;
  if (thread_traces.stack_end) note(object, type, __builtin_return_address(0));
  if (const Throw next = find_next_throw()) next(object, type, destroy);
  std::abort();
}

#endif
