// A lock with memory that it protects: what Value and Array share.
#pragma once

#include <atomic>
#include <cofork/ipc/lock.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace cofork::detail {

template <class T>
inline constexpr bool is_atomic = false;
template <class T>
inline constexpr bool is_atomic<std::atomic<T>> = true;

/// What may lie in memory that processes share.
template <class T>
concept Shareable = std::is_object_v<T> && !std::is_pointer_v<T> && !std::is_const_v<T> && alignof(T) <= 64 &&
                    (std::is_trivially_copyable_v<T> || (is_atomic<T> && std::is_trivially_destructible_v<T>));

/// The size of `n` of them; std::length_error if there can be no such memory.
template <class T>
std::size_t bytes_of(std::size_t n) {
  if (n > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) throw std::length_error("shared memory of such a size");
  return n * sizeof(T);
}

ipc::LockGuard lock_shortly(LockState& lock);

/// Runs `f` with the lock held, or at once in a thread that holds it already. It blocks, on a loop's thread too: such a
/// lock is meant to be held shortly.
template <class F>
decltype(auto) with_lock(LockState& lock, F&& f) {
  if (lock.held_by_this_thread()) return std::forward<F>(f)();
  const ipc::LockGuard guard = lock_shortly(lock);
  return std::forward<F>(f)();
}
class LockedMemory : public LockState {
 public:
  /// Zero at first.
  LockedMemory(const char* what, std::size_t size);
  LockedMemory(const char* what, ipc::Reader& reader);

  void encode(ipc::Writer& writer) const;
  std::byte* data() const noexcept { return mapping_.data() + offset; }
  std::size_t size() const noexcept { return mapping_.size() - offset; }

 private:
  // Behind the lock.
  static constexpr std::size_t offset = (sizeof(MonitorHeader) + sizeof(Memory) + 63) / 64 * 64;
  ipc::Mapping mapping_;
};

/// Begins the lives of `n` objects in memory that is zero.
template <class T>
void value_initialize(std::byte* memory, std::size_t n) {
  // Zero is what they would be: the pages are left untouched.
  if constexpr (!std::is_trivially_default_constructible_v<T> && !is_atomic<T>)
    for (std::size_t i = 0; i < n; ++i) new (memory + i * sizeof(T)) T();
}

}  // namespace cofork::detail
