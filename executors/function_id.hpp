// A function named so that a forked worker, which has this program's image, can find it and check that it is there.
#pragma once

#include <cstdint>
#include <string>
#include <typeinfo>

namespace cofork::detail {

/// Any function's address; cast back to the function's own type before the call.
using AnyFunction = void (*)();

/// A function by where it lies in the program or in a library that is loaded: the same in every fork.
struct FunctionId {
  std::uint64_t module;  ///< A hash of the library's path, layout and build id.
  std::uint64_t offset;  ///< From the address at which the library was loaded.

  friend bool operator==(const FunctionId&, const FunctionId&) = default;
};

/// Names `function`. Costs a few nanoseconds for one of the program itself, some tens for one of a library: the dynamic
/// linker is asked whether anything was loaded or unloaded meanwhile. Throws std::invalid_argument for an address that
/// lies in no executable segment, as that of a trampoline or of compiled-at-run-time code.
FunctionId identify(AnyFunction function);

/// The function of this process that `id` names. Costs a few nanoseconds and takes no lock unless the library is not
/// known yet. Throws DecodeError if it is not loaded here, or if no code of it is at that offset: then the function is
/// in a library that was loaded after this process was forked.
AnyFunction resolve(const FunctionId& id);

/// Takes note of what is loaded. Before a fork: the child's `resolve`, on the thread that forked, then need not ask the
/// dynamic linker, whose lock another thread may have held in the instant of the fork.
void remember_modules();

/// The function's name and parameters, or "function at 0x..." if the symbol tables do not have it: it is static, or
/// not exported, and its module is stripped.
std::string function_name(AnyFunction function);

/// The type's name as it is written in C++.
std::string type_name(const std::type_info& type);

}  // namespace cofork::detail
