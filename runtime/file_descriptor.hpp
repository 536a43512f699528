// A descriptor of this process that is owned. Not for users.
#pragma once

#include <cerrno>
#include <utility>

namespace cofork::detail {

/// Owns one descriptor and closes it when destroyed. Move-only.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  /// Takes ownership of `number`; a negative one means none.
  explicit FileDescriptor(int number) noexcept : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~FileDescriptor() { reset(); }

  int get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ >= 0; }
  /// Gives it up without closing it.
  int release() noexcept { return std::exchange(number_, -1); }
  /// Closes what is owned, takes ownership of `number`, and gives the errno of the close: it may be the first to tell
  /// that something was not written. The descriptor is gone in any case.
  int reset(int number = -1) noexcept;

 private:
  int number_ = -1;
};

/// Throws `std::system_error` with the current errno: "operation subject: why".
[[noreturn]] void throw_errno(const char* operation, const char* subject);

/// Calls a system call again as long as it is interrupted by a signal.
template <class F>
auto retry_interrupted(F call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace cofork::detail
