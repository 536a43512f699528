// Formatted text on its way to a stream.
#pragma once

#include <fmt/format.h>

#include <iterator>
#include <ostream>
#include <utility>

namespace cofork::detail {

/// Appends to a buffer, which goes to the stream when it has grown, and by `flush`.
class TraceOutput {
 public:
  explicit TraceOutput(std::ostream& out) : out_(out) {}

 protected:
  template <class... A>
  void append(fmt::format_string<A...> format, A&&... arguments) {
    fmt::format_to(std::back_inserter(buffer_), format, std::forward<A>(arguments)...);
    if (buffer_.size() > 60'000) flush();
  }
  void flush() {
    out_.write(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    buffer_.clear();
  }

 private:
  std::ostream& out_;
  fmt::memory_buffer buffer_;
};

}  // namespace cofork::detail
