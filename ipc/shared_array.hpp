// SharedArray: elements that travel to another process without being copied.
#pragma once

#include <cofork/ipc/array.hpp>
#include <cstddef>
#include <span>
#include <utility>

namespace cofork::ipc {

/// A fixed number of objects in shared memory, as an argument and a result of pool tasks, in messages, and given to a
/// `Process`: only a descriptor travels, and everybody who has it sees the same memory. T is trivially copyable and
/// holds no pointers, or is a std::atomic. A handle: copies are the same array. There is no lock: whoever writes must
/// know that nobody reads.
///
/// The memory is taken as it is written, and given back with the last handle of all processes.
template <class T>
class SharedArray : public detail::StateHandle<detail::RawArrayState<T>> {
  static_assert(detail::Shareable<T>, "a trivially copyable type without pointers, or a std::atomic");
  using Base = detail::StateHandle<detail::RawArrayState<T>>;

 public:
  using value_type = T;

  /// Value-initialised. std::system_error or std::length_error if there is not so much memory.
  explicit SharedArray(std::size_t size = 0) : Base(detail::make_intrusive<detail::RawArrayState<T>>(size)) {
    detail::value_initialize<T>(this->state().data(), size);
  }
  explicit SharedArray(detail::IntrusivePtr<detail::RawArrayState<T>> state) : Base(std::move(state)) {}

  /// The elements, which live as long as a handle.
  std::span<T> span() { return elements(); }
  std::span<const T> span() const { return elements(); }
  std::size_t size() const { return elements().size(); }
  bool empty() const { return size() == 0; }
  T* data() { return elements().data(); }
  const T* data() const { return elements().data(); }
  T* begin() { return data(); }
  T* end() { return data() + size(); }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }
  /// Unchecked.
  T& operator[](std::size_t index) { return elements()[index]; }
  const T& operator[](std::size_t index) const { return elements()[index]; }

 private:
  std::span<T> elements() const { return this->state().elements(); }
};

}  // namespace cofork::ipc
