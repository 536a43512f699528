#include <fmt/format.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cofork/executors/progress_bar.hpp>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace cofork::detail {

namespace {

constexpr unsigned usual_columns = 80, narrowest_bar = 10, widest_bar = 40;

/// One column a character, and no character that moves the cursor.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return out;
}

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); }));
}

void cut(std::string& text, std::size_t columns) {
  std::size_t end = 0;
  for (; end < text.size() && columns > 0; --columns) do
      ++end;
    while (end < text.size() && continues_character(text[end]));
  text.resize(end);
}

std::string time_text(std::chrono::nanoseconds time) {
  const double seconds = std::chrono::duration<double>(time).count();
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(std::min(seconds, 1e12));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string rate_text(double rate) {
  if (rate >= 1e6) return fmt::format("{:.1f}M/s", rate / 1e6);
  if (rate >= 1e4) return fmt::format("{:.0f}k/s", rate / 1e3);
  return fmt::format("{:.{}f}/s", rate, rate < 10 ? 1 : 0);
}

}  // namespace

std::string progress_line(const ProgressReport& report, std::string_view label, unsigned columns) {
  const std::size_t room = columns > 1 ? columns - 1 : 1;
  std::string begin = printable(label);
  if (!begin.empty()) begin += ' ';
  double part = 0;
  if (report.total) {
    part =
        *report.total != 0 ? std::min(1.0, static_cast<double>(report.done) / static_cast<double>(*report.total)) : 1;
    begin += fmt::format("{:3} %", static_cast<int>(part * 100));
  }
  // From the most telling to the least: what does not fit is left out.
  std::vector<std::string> details{report.total ? fmt::format("{}/{}", report.done, *report.total)
                                                : fmt::format("{} done", report.done)};
  if (report.failed != 0) details.push_back(fmt::format("{} failed", report.failed));
  if (report.finished || !report.left)
    details.push_back(time_text(report.elapsed));
  else
    details.push_back(time_text(*report.left) + " left");
  if (report.done != 0) details.push_back(rate_text(report.rate));

  std::string end;
  for (const std::string& detail : details) {
    const std::string longer = end + (end.empty() ? "" : ", ") + detail;
    if (width_of(begin) + 1 + width_of(longer) > room) break;
    end = longer;
  }
  std::string line = begin;
  if (report.total) {
    const std::size_t taken = width_of(begin) + width_of(end) + 4;
    if (taken + narrowest_bar <= room) {
      const std::size_t width = std::min<std::size_t>(room - taken, widest_bar);
      const auto filled = static_cast<std::size_t>(part * static_cast<double>(width));
      line += " [" + std::string(filled, '=');
      if (filled < width) line += '>' + std::string(width - filled - 1, ' ');
      line += ']';
    }
  }
  if (!line.empty() && line.back() != ' ' && !end.empty()) line += ' ';
  line += end;
  cut(line, room);
  return line;
}

ProgressBar::ProgressBar(int descriptor, std::string_view label) : descriptor_(descriptor), label_(label) {
  const char* const terminal = std::getenv("TERM");
  usable_ = ::isatty(descriptor) == 1 && !(terminal && std::strcmp(terminal, "dumb") == 0);
}

void ProgressBar::draw(const ProgressReport& report) noexcept {
  if (!usable_ || !in_foreground()) return;
  winsize size{};
  const bool known = ::ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
  try {
    write(fmt::format("\r{}\x1b[K", progress_line(report, label_, known ? size.ws_col : usual_columns)));
    drawn_ = true;
  } catch (const std::bad_alloc&) {
    // Next time.
  }
}

void ProgressBar::end_line() noexcept {
  if (std::exchange(drawn_, false)) write("\n");
}

void ProgressBar::erase() noexcept {
  if (std::exchange(drawn_, false)) write("\r\x1b[K");
}

/// Of its controlling terminal; one that is not that has no background.
bool ProgressBar::in_foreground() const noexcept {
  const pid_t foreground = ::tcgetpgrp(descriptor_);
  return foreground == -1 || foreground == ::getpgrp();
}

void ProgressBar::write(std::string_view text) noexcept {
  while (usable_ && !text.empty()) {
    const ssize_t written = ::write(descriptor_, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      return;  // it is full: what comes later replaces this
    } else if (errno != EINTR) {
      usable_ = false;
    }
  }
}

}  // namespace cofork::detail
