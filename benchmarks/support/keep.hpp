// Values that the compiler must take for unknown.
#pragma once

#include <concepts>

namespace bench {

/// Nothing at run time; but afterwards `value` may be anything, so that work on it is neither folded nor left out.
template <std::integral T>
void keep(T& value) {
  asm volatile("" : "+r"(value) : : "memory");
}

}  // namespace bench
