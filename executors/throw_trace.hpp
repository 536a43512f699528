// Where an exception was thrown: in a worker, while it executes a task.
#pragma once

#include <cstdint>
#include <exception>
#include <span>

namespace cofork::detail {

/// Before a fork: looks up what a throw in the child needs, so that it need not ask the dynamic linker.
void prepare_throw_traces() noexcept;

/// From now on every throw of this thread notes its stack, up to the frames above `stack_end`; null: no more.
void trace_throws(const void* stack_end) noexcept;

/// The stack with which `error` was thrown, if it is among the latest that this thread threw; valid until its next
/// throw. Empty for what was never thrown but only made (`std::make_exception_ptr`), and where the library's
/// `__cxa_throw` is not the one that is called: with a statically linked libstdc++, with a program or tool that has its
/// own, or where the library was loaded by `dlopen` after the program's start.
std::span<const std::uintptr_t> throw_trace(const std::exception_ptr& error) noexcept;

/// The object that an exception_ptr points to; null for a null one.
const void* exception_object(const std::exception_ptr& error) noexcept;

}  // namespace cofork::detail
