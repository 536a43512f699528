// A file descriptor that is owned.
#pragma once

#include <utility>

namespace cofork::detail {

/// Owns one file descriptor and closes it when destroyed. Move-only.
class Descriptor {
 public:
  Descriptor() = default;
  /// Takes ownership of `fd`; a negative number means none.
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Descriptor() { reset(); }

  /// A duplicate of `fd`, close-on-exec. Throws `std::system_error`.
  static Descriptor duplicate(int fd);

  /// The descriptor, still owned by this object; -1 if there is none.
  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }
  explicit operator bool() const noexcept { return valid(); }
  /// Gives the descriptor up without closing it.
  int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes what is owned and takes ownership of `fd`.
  void reset(int fd = -1) noexcept {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) close_quietly(old);
  }

 private:
  static void close_quietly(int fd) noexcept;

  int fd_ = -1;
};

}  // namespace cofork::detail
