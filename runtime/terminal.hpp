// The terminal: its size, and keys as they are pressed.
#pragma once

#include <memory>

namespace cofork {

struct TerminalSize {
  unsigned columns, rows;

  bool operator==(const TerminalSize&) const = default;
};

/// Whether the descriptor is a terminal (`os.isatty`).
bool is_terminal(int descriptor) noexcept;

/// The size of the terminal (`shutil.get_terminal_size`): what the environment says in COLUMNS and LINES, else that of
/// the terminal of standard output, input or error, else 80 by 24. Changes come with SIGWINCH: `signals({SIGWINCH})`.
TerminalSize terminal_size();

/// While it lives, a terminal gives every key as it is pressed and shows none (`tty.setraw`): no lines, no signals for
/// Ctrl-C, no flow control; output is as before. Then it is as it was found. Move-only.
class [[nodiscard("a guard that is dropped restores the terminal at once")]] RawMode {
 public:
  /// `std::system_error`, ENOTTY if the descriptor is no terminal. It must stay open.
  explicit RawMode(int descriptor = 0);
  RawMode(RawMode &&) noexcept;
  RawMode& operator=(RawMode&&) noexcept;
  ~RawMode();

 private:
  struct Saved;
  void restore() noexcept;
  std::unique_ptr<Saved> saved_;
};

}  // namespace cofork
