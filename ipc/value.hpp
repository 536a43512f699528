// Value, RawValue: one object in memory that processes share.
#pragma once

#include <cofork/ipc/locked_memory.hpp>
#include <cofork/ipc/memory_state.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <concepts>
#include <functional>
#include <new>
#include <utility>

namespace cofork::detail {

template <class T>
class ValueState final : public LockedMemory {
 public:
  static constexpr const char* name = "value";
  ValueState() : LockedMemory(name, sizeof(T)) {}
  explicit ValueState(ipc::Reader& reader) : LockedMemory(name, reader) {
    if (size() != sizeof(T)) ipc::Reader::fail("a value of another size");
  }
  T& object() const noexcept { return *reinterpret_cast<T*>(data()); }
};

template <class T>
class RawValueState final : public MemoryState {
 public:
  RawValueState() : MemoryState(sizeof(T)) {}
  explicit RawValueState(ipc::Reader& reader) : MemoryState(reader) {
    if (size() != sizeof(T)) ipc::Reader::fail("a value of another size");
  }
  T& object() const noexcept { return *reinterpret_cast<T*>(data()); }
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// An object in shared memory with a lock (`multiprocessing.Value`). T is trivially copyable and holds no pointers, or
/// is a std::atomic. A handle: copies are the same object, in every process that it was given to.
///
/// `get` and `set` are whole in themselves; what reads and writes takes the lock: `value.with_lock([](int& n) { ++n;
/// })`, or a guard of `get_lock()`, in whose thread `get`, `set` and `with_lock` go through. They block for as long as
/// another process holds the lock, a loop too: do not hold it over an await.
template <class T>
class Value : public detail::StateHandle<detail::ValueState<T>> {
  static_assert(detail::Shareable<T>, "a trivially copyable type without pointers, or a std::atomic");
  using Base = detail::StateHandle<detail::ValueState<T>>;

 public:
  /// Value-initialised.
  Value() : Base(detail::make_intrusive<detail::ValueState<T>>()) { new (&this->state().object()) T(); }
  /// With an object made of the arguments.
  template <class... A>
  requires(sizeof...(A) > 0 && std::constructible_from<T, A...> &&
           !(std::derived_from<std::remove_cvref_t<A>, detail::HandleBase> || ...))  //
      explicit Value(A&&... arguments)
      : Base(detail::make_intrusive<detail::ValueState<T>>()) {
    new (&this->state().object()) T(std::forward<A>(arguments)...);
  }
  explicit Value(detail::IntrusivePtr<detail::ValueState<T>> state) : Base(std::move(state)) {}

  T get() const requires std::copy_constructible<T> {
    auto& state = this->state();
    return detail::with_lock(state, [&] { return state.object(); });
  }
  void set(T value) const requires std::is_copy_assignable_v<T> {
    auto& state = this->state();
    detail::with_lock(state, [&] { state.object() = value; });
  }
  /// The lock, as a handle that can travel by itself.
  Lock get_lock() const { return Lock(detail::IntrusivePtr<detail::LockState>(this->shared_state())); }
  /// `f(T&)` with the lock held; gives what it gives.
  template <std::invocable<T&> F>
  decltype(auto) with_lock(F f) const {
    auto& state = this->state();
    return detail::with_lock(state, [&]() -> decltype(auto) { return std::invoke(f, state.object()); });
  }
  /// The object, without the lock (`get_obj`); for a std::atomic it is all that is needed. It lives as long as a
  /// handle.
  T& object() const { return this->state().object(); }
};

/// An object in shared memory without a lock (`multiprocessing.RawValue`): for a std::atomic, or what one process
/// writes at a time. For the rest as `Value`.
template <class T>
class RawValue : public detail::StateHandle<detail::RawValueState<T>> {
  static_assert(detail::Shareable<T>, "a trivially copyable type without pointers, or a std::atomic");
  using Base = detail::StateHandle<detail::RawValueState<T>>;

 public:
  /// Value-initialised.
  RawValue() : Base(detail::make_intrusive<detail::RawValueState<T>>()) { new (&this->state().object()) T(); }
  template <class... A>
  requires(sizeof...(A) > 0 && std::constructible_from<T, A...> &&
           !(std::derived_from<std::remove_cvref_t<A>, detail::HandleBase> || ...))  //
      explicit RawValue(A&&... arguments)
      : Base(detail::make_intrusive<detail::RawValueState<T>>()) {
    new (&this->state().object()) T(std::forward<A>(arguments)...);
  }
  explicit RawValue(detail::IntrusivePtr<detail::RawValueState<T>> state) : Base(std::move(state)) {}

  T get() const requires std::copy_constructible<T> { return this->state().object(); }
  void set(T value) const requires std::is_copy_assignable_v<T> { this->state().object() = value; }
  /// It lives as long as a handle.
  T& operator*() const { return this->state().object(); }
  T* operator->() const { return &this->state().object(); }
};

}  // namespace cofork::ipc
