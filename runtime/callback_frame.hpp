// What a coroutine's frame begins with, on every compiler that follows the Itanium ABI: the functions that resume and
// destroy it.
#pragma once

#include <coroutine>

namespace cofork::detail {

using FrameFunction = void (*)(void*);

/// Something that a coroutine can resume at its end although it is no coroutine.
class CallbackFrame {
 public:
  explicit CallbackFrame(FrameFunction on_resume) noexcept : resume_(on_resume), destroy_(on_resume) {}
  CallbackFrame(const CallbackFrame&) = delete;
  CallbackFrame& operator=(const CallbackFrame&) = delete;

  std::coroutine_handle<> handle() noexcept { return std::coroutine_handle<>::from_address(this); }

 private:
  [[maybe_unused]] FrameFunction resume_;
  [[maybe_unused]] FrameFunction destroy_;
};

/// As `coroutine.resume()`, for those that throw nothing: so that it is a jump where it is the last thing that a
/// function does.
inline void resume_without_throwing(std::coroutine_handle<> coroutine) noexcept {
  const FrameFunction resume = *static_cast<FrameFunction*>(coroutine.address());
  reinterpret_cast<void (*)(void*) noexcept>(resume)(coroutine.address());
}

}  // namespace cofork::detail
