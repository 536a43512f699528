// Tells when a foreign descriptor (an eventfd, a pidfd, a socket) is readable. Not for users.
#pragma once

#include <functional>

struct uv_loop_s;
struct uv_poll_s;

namespace cofork::detail {

/// Calls `on_readable` from the loop whenever `descriptor` is readable, level-triggered, until it is destroyed, which
/// must be before the descriptor is closed. `on_readable` may destroy the watch.
class DescriptorWatch {
 public:
  DescriptorWatch() = default;
  /// Throws `std::system_error`.
  DescriptorWatch(uv_loop_s* loop, int descriptor, std::function<void()> on_readable);
  DescriptorWatch(DescriptorWatch&& other) noexcept;
  DescriptorWatch& operator=(DescriptorWatch&& other) noexcept;
  ~DescriptorWatch();

 private:
  struct State;
  State* state_ = nullptr;  // libuv's from the destructor on, until its close callback
};

}  // namespace cofork::detail
