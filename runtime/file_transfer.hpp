// Moving bytes between a file and a buffer of somebody else's, on another thread. Not for users.
#pragma once

#include <atomic>
#include <cofork/runtime/system_call.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

namespace cofork::detail {

/// The buffer of a coroutine that waits for a read or a write. The coroutine may be destroyed meanwhile, and the buffer
/// with it, but a system call cannot be interrupted. So the thread moves the bytes in steps, through memory of its own,
/// and touches the buffer only to copy one step, under a mutex by which the coroutine takes the buffer back.
class Transfer {
 public:
  explicit Transfer(std::span<std::byte> into) : buffer_(into.data()), size_(into.size()) {}
  explicit Transfer(std::span<const std::byte> from)
      : buffer_(const_cast<std::byte*>(from.data())), size_(from.size()) {}

  /// On the loop's thread: the buffer is not touched any more.
  void revoke() noexcept;
  /// On the loop's thread: it shall end after the step that is under way.
  void stop() noexcept { stopped_.store(true, std::memory_order_relaxed); }

  /// The following are called on the thread. Without an offset they use the file's position. `path` is for messages.
  /// They throw `std::system_error`, and `CancelledError` if stopped.
  ///
  /// Gives less than the buffer's size at the end of the file, when the kernel has no more at the moment (a pipe, a
  /// terminal), or when it was stopped after a step.
  std::size_t read(int file, const char* path, std::optional<std::uint64_t> offset);
  /// All of it.
  void write(int file, const char* path, std::optional<std::uint64_t> offset);

  /// How many bytes a step has at most.
  static constexpr std::size_t step = 128 * 1024;
  std::size_t size() const noexcept { return size_; }

 private:
  void check_not_stopped() const;
  template <class F>
  void use_buffer(F copy);

  std::mutex mutex_;  // guards `buffer_`
  std::byte* buffer_;
  const std::size_t size_;
  bool revoked_ = false;
  std::atomic<bool> stopped_ = false;
};

}  // namespace cofork::detail
