// Text in the files that a TraceRecorder writes.
#pragma once

#include <cofork/executors/trace_log.hpp>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace cofork::detail {

/// What stands between the quotes of a JSON string: valid UTF-8, whatever `text` holds.
std::string json_text(std::string_view text);
/// For an XML text or attribute. What XML cannot hold becomes U+FFFD.
std::string xml_text(std::string_view text);

/// "1.25 ms": nanoseconds with three digits.
std::string duration_text(std::int64_t nanoseconds);
/// How a worker ended: "was killed by SIGSEGV".
std::string end_text(const TracedWorker& worker);
std::string signal_text(int number);

void write_trace_json(const TraceLog& log, std::ostream& out);
void write_trace_svg(const TraceLog& log, std::ostream& out);

}  // namespace cofork::detail
