// What a function that blocks its thread asks first.
#pragma once

namespace cofork::detail {

/// std::logic_error, naming `function`, on the thread of a running loop: it would wait for itself.
void require_no_loop(const char* function);

}  // namespace cofork::detail
