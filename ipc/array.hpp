// Array, RawArray: objects in memory that processes share.
#pragma once

#include <algorithm>
#include <cofork/ipc/locked_memory.hpp>
#include <cofork/ipc/memory_state.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>

namespace cofork::detail {

template <class T>
class ArrayState final : public LockedMemory {
 public:
  static constexpr const char* name = "array";
  explicit ArrayState(std::size_t n) : LockedMemory(name, bytes_of<T>(n)) {}
  explicit ArrayState(ipc::Reader& reader) : LockedMemory(name, reader) {
    if (size() % sizeof(T) != 0) ipc::Reader::fail("an array of another type");
  }
  std::span<T> elements() const noexcept { return {reinterpret_cast<T*>(data()), size() / sizeof(T)}; }
};

template <class T>
class RawArrayState final : public MemoryState {
 public:
  static constexpr const char* name = "array";
  explicit RawArrayState(std::size_t n) : MemoryState(bytes_of<T>(n)) {}
  explicit RawArrayState(ipc::Reader& reader) : MemoryState(reader) {
    if (size() % sizeof(T) != 0) ipc::Reader::fail("an array of another type");
  }
  std::span<T> elements() const noexcept { return {reinterpret_cast<T*>(data()), size() / sizeof(T)}; }
};

/// What arrays have in common; `State` is a state with `elements()`.
template <class T, class State>
class ArrayHandle : public StateHandle<State> {
  static_assert(Shareable<T>, "a trivially copyable type without pointers, or a std::atomic");

 public:
  using value_type = T;

  /// Unchecked, without a lock.
  T& operator[](std::size_t index) const { return elements()[index]; }
  /// std::out_of_range beyond the end.
  T& at(std::size_t index) const {
    const std::span<T> all = elements();
    if (index >= all.size()) throw std::out_of_range("index beyond the end of a shared array");
    return all[index];
  }
  std::size_t size() const { return elements().size(); }
  bool empty() const { return size() == 0; }
  /// They live as long as a handle.
  std::span<T> span() const { return elements(); }
  T* begin() const { return elements().data(); }
  T* end() const { return begin() + size(); }
  T* data() const { return elements().data(); }

 protected:
  using StateHandle<State>::StateHandle;
  explicit ArrayHandle(std::size_t n) : StateHandle<State>(make_intrusive<State>(n)) {
    value_initialize<T>(reinterpret_cast<std::byte*>(data()), n);
  }
  explicit ArrayHandle(std::span<const T> values) : StateHandle<State>(make_intrusive<State>(values.size())) {
    std::uninitialized_copy(values.begin(), values.end(), begin());
  }

 private:
  std::span<T> elements() const { return this->state().elements(); }
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// A fixed number of objects in shared memory with one lock (`multiprocessing.Array`); see `Value`. The elements are
/// accessed without the lock, which is for what must not be mixed: `array.with_lock([](std::span<int> all) { ... })`.
template <class T>
class Array : public detail::ArrayHandle<T, detail::ArrayState<T>> {
  using Base = detail::ArrayHandle<T, detail::ArrayState<T>>;

 public:
  /// Value-initialised. std::system_error or std::length_error if there is not so much memory.
  explicit Array(std::size_t size) : Base(size) {}
  /// A copy of these.
  explicit Array(std::span<const T> values) requires std::is_trivially_copyable_v<T> : Base(values) {}
  Array(std::initializer_list<T> values) requires std::is_trivially_copyable_v<T>
      : Base(std::span<const T>(values.begin(), values.size())) {}
  explicit Array(detail::IntrusivePtr<detail::ArrayState<T>> state) : Base(std::move(state)) {}

  /// The lock, as a handle that can travel by itself.
  Lock get_lock() const { return Lock(detail::IntrusivePtr<detail::LockState>(this->shared_state())); }
  /// `f(std::span<T>)` with the lock held; gives what it gives.
  template <std::invocable<std::span<T>> F>
  decltype(auto) with_lock(F f) const {
    auto& state = this->state();
    return detail::with_lock(state, [&]() -> decltype(auto) { return std::invoke(f, state.elements()); });
  }
};

/// The same without a lock (`multiprocessing.RawArray`).
template <class T>
class RawArray : public detail::ArrayHandle<T, detail::RawArrayState<T>> {
  using Base = detail::ArrayHandle<T, detail::RawArrayState<T>>;

 public:
  explicit RawArray(std::size_t size) : Base(size) {}
  explicit RawArray(std::span<const T> values) requires std::is_trivially_copyable_v<T> : Base(values) {}
  RawArray(std::initializer_list<T> values) requires std::is_trivially_copyable_v<T>
      : Base(std::span<const T>(values.begin(), values.size())) {}
  explicit RawArray(detail::IntrusivePtr<detail::RawArrayState<T>> state) : Base(std::move(state)) {}
};

}  // namespace cofork::ipc
