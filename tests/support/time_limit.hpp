#pragma once

#include <string>

namespace support {

/// Aborts this process, naming `test` on stderr, unless cancel_time_limit() is called within `seconds`.
void set_time_limit(const std::string& test, unsigned seconds);
void cancel_time_limit();

}  // namespace support
