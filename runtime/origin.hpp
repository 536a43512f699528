// In which process something was made that no forked child can use.
#pragma once

namespace cofork::detail {

/// Counts the forks by which this process came about from the one that the program began in.
inline constinit unsigned forks_since_start = 0;

/// Made with what lives in one process: futures, the consumers' side of streams, executors.
class Origin {
 public:
  /// False in a child that was forked since.
  bool is_here() const noexcept { return forks_ == forks_since_start; }
  /// In a child, `std::logic_error` for what is its copy of the parent's: nothing here would ever end it.
  void check(const char* what) const {
    if (!is_here()) [[unlikely]]
      fail(what);
  }

 private:
  [[noreturn]] static void fail(const char* what);
  unsigned forks_ = forks_since_start;
};

}  // namespace cofork::detail
