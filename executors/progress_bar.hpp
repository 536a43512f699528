// One line on a terminal, drawn again and again.
#pragma once

#include <cofork/executors/progress.hpp>
#include <string>
#include <string_view>

namespace cofork::detail {

/// The line for a terminal of so many columns, of which it leaves the last one free.
std::string progress_line(const ProgressReport& report, std::string_view label, unsigned columns);

class ProgressBar {
 public:
  /// Draws nothing where `descriptor` is not a terminal that can move its cursor.
  ProgressBar(int descriptor, std::string_view label);

  void draw(const ProgressReport& report) noexcept;
  /// What was drawn stays, on a line of its own.
  void end_line() noexcept;
  void erase() noexcept;

 private:
  bool in_foreground() const noexcept;
  void write(std::string_view text) noexcept;

  const int descriptor_;
  const std::string label_;
  bool usable_;
  bool drawn_ = false;
};

}  // namespace cofork::detail
