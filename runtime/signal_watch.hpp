// Which signals have arrived, for one who watches some. Not for users.
#pragma once

#include <signal.h>

#include <cofork/runtime/descriptor.hpp>
#include <cstdint>
#include <vector>

namespace cofork::detail {

/// Not by libuv, whose table of watched signals a forked child shares: there a signal would not be watched that the
/// parent watches too, and one that reached the child would be reported to the parent.
class SignalWatch {
 public:
  enum class Gets : bool {
    all,
    /// Only signals that no watch of the other kind is told. Another one of a signal that was not taken yet has the
    /// signal's default effect: who does not listen is not to be waited for.
    what_nobody_else_watches
  };
  /// Watches signals of these numbers, 1 to 64, until it is destroyed. Any thread. Throws `std::system_error`.
  explicit SignalWatch(std::vector<int> numbers, Gets gets = Gets::all);
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  /// The last one restores what was set for the signal before the first.
  ~SignalWatch();

  /// Readable when something has arrived that was not taken.
  int descriptor() const noexcept { return bell_.get(); }
  /// Signal N is bit N - 1.
  std::uint64_t take() noexcept;

 private:
  struct Subscriber;
  struct Table;
  static Table& table() noexcept;
  static void handle(int number);
  static bool is_handled_here(int number) noexcept;

  const std::vector<int> numbers_;
  Descriptor bell_;
  Subscriber* subscriber_ = nullptr;
};

}  // namespace cofork::detail
