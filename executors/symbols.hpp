// Addresses of code as a person reads them.
#pragma once

#include <cstdint>
#include <string>

namespace cofork::detail {

/// "parse(int) +0x1c (program+0x4f3c)": the function, and the place in its module. What is known about an address is
/// kept, for each thread, until a module is loaded or unloaded. Reads the module's file the first time.
std::string describe_address(std::uintptr_t address);

/// The name of the function that begins at an address; empty if it is not known.
std::string function_at(std::uintptr_t address);

/// A mangled name as it is written in C++; any other text as it is.
std::string demangle(const char* name);

}  // namespace cofork::detail
