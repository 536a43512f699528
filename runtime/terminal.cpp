#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <charconv>
#include <cofork/runtime/system_call.hpp>
#include <cofork/runtime/terminal.hpp>
#include <cstdlib>
#include <string>
#include <string_view>

namespace cofork {

namespace {
unsigned from_environment(const char* name) {
  const char* const value = std::getenv(name);
  unsigned number = 0;
  if (!value) return 0;
  const std::string_view text = value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}
}  // namespace

bool is_terminal(int descriptor) noexcept { return ::isatty(descriptor) == 1; }

TerminalSize terminal_size() {
  TerminalSize size{from_environment("COLUMNS"), from_environment("LINES")};
  for (const int descriptor : {STDOUT_FILENO, STDIN_FILENO, STDERR_FILENO}) {
    if (size.columns != 0 && size.rows != 0) return size;
    winsize window = {};
    if (::ioctl(descriptor, TIOCGWINSZ, &window) < 0) continue;
    if (size.columns == 0) size.columns = window.ws_col;
    if (size.rows == 0) size.rows = window.ws_row;
  }
  if (size.columns == 0) size.columns = 80;
  if (size.rows == 0) size.rows = 24;
  return size;
}

struct RawMode::Saved {
  int descriptor;
  termios attributes;
};

RawMode::RawMode(int descriptor) : saved_(std::make_unique<Saved>()) {
  saved_->descriptor = descriptor;
  const std::string subject = "terminal " + std::to_string(descriptor);
  if (::tcgetattr(descriptor, &saved_->attributes) < 0) detail::throw_errno("tcgetattr", subject.c_str());
  termios raw = saved_->attributes;
  const tcflag_t output = raw.c_oflag;
  ::cfmakeraw(&raw);
  raw.c_oflag = output;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (detail::retry_interrupted([&] { return ::tcsetattr(descriptor, TCSADRAIN, &raw); }) < 0)
    detail::throw_errno("tcsetattr", subject.c_str());
}

RawMode::RawMode(RawMode&&) noexcept = default;

RawMode& RawMode::operator=(RawMode&& other) noexcept {
  if (this == &other) return *this;
  restore();
  saved_ = std::move(other.saved_);
  return *this;
}

RawMode::~RawMode() { restore(); }

void RawMode::restore() noexcept {
  if (!saved_) return;
  detail::retry_interrupted([&] { return ::tcsetattr(saved_->descriptor, TCSADRAIN, &saved_->attributes); });
  saved_.reset();
}

}  // namespace cofork
