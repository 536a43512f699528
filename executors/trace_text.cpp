#include <fmt/format.h>
#include <sys/wait.h>

#include <cmath>
#include <cofork/executors/trace_text.hpp>
#include <cstring>
#include <iterator>

namespace cofork::detail {

namespace {

constexpr char32_t replacement = 0xfffd;

/// The next character; `replacement` for a byte that begins no valid one.
char32_t next_character(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  std::size_t length = 1;
  char32_t character = first;
  if (first >= 0x80) {
    length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    bool valid = first >= 0xc2 && first <= 0xf4 && length <= text.size();
    character = first & (0x7f >> length);
    for (std::size_t i = 1; valid && i < length; ++i) {
      valid = (byte(i) & 0xc0) == 0x80;
      character = character << 6 | (byte(i) & 0x3f);
    }
    const bool overlong = (length == 3 && character < 0x800) || (length == 4 && character < 0x10000);
    const bool surrogate = character >= 0xd800 && character <= 0xdfff;
    if (!valid || overlong || surrogate || character > 0x10ffff) {
      character = replacement;
      length = 1;
    }
  }
  text.remove_prefix(length);
  return character;
}

/// `escape(out, character)` says whether it has written it.
template <class Escape>
std::string escaped(std::string_view text, Escape escape) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::string_view before = text;
    const char32_t character = next_character(text);
    if (escape(out, character)) continue;
    if (character == replacement)
      out += "\xef\xbf\xbd";
    else
      out += before.substr(0, before.size() - text.size());
  }
  return out;
}

}  // namespace

std::string json_text(std::string_view text) {
  return escaped(text, [](std::string& out, char32_t character) {
    if (character == '"' || character == '\\') {
      out += '\\';
      out += static_cast<char>(character);
    } else if (character < 0x20 || character == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(character));
    } else {
      return false;
    }
    return true;
  });
}

std::string xml_text(std::string_view text) {
  return escaped(text, [](std::string& out, char32_t character) {
    switch (character) {
      case '<':
        out += "&lt;";
        return true;
      case '>':
        out += "&gt;";
        return true;
      case '&':
        out += "&amp;";
        return true;
      case '"':
        out += "&quot;";
        return true;
      case '\'':
        out += "&#39;";
        return true;
    }
    if (character >= 0x20 && character != 0xfffe && character != 0xffff) return false;
    out += character == '\t' || character == '\n' ? " " : "\xef\xbf\xbd";
    return true;
  });
}

std::string duration_text(std::int64_t nanoseconds) {
  const auto value = static_cast<double>(nanoseconds);
  if (std::abs(value) < 999.5e3) return fmt::format("{:.3g} µs", value / 1e3);
  if (std::abs(value) < 999.5e6) return fmt::format("{:.3g} ms", value / 1e6);
  if (std::abs(value) < 999.5e9) return fmt::format("{:.3g} s", value / 1e9);
  return fmt::format("{:.0f} s", value / 1e9);
}

std::string signal_text(int number) {
  const char* const abbreviation = ::sigabbrev_np(number);
  return abbreviation ? fmt::format("SIG{}", abbreviation) : fmt::format("signal {}", number);
}

std::string end_text(const TracedWorker& worker) {
  if (!worker.status_known) return "ended";
  if (WIFSIGNALED(worker.status)) return "was killed by " + signal_text(WTERMSIG(worker.status));
  return fmt::format("exited with status {}", WEXITSTATUS(worker.status));
}

}  // namespace cofork::detail
