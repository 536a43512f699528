// A callable and its arguments, as a Process keeps them until its child calls it.
#pragma once

#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/to_task.hpp>
#include <cstddef>
#include <functional>
#include <new>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cofork::detail {

class ProcessTarget {
 public:
  ProcessTarget() = default;
  virtual ~ProcessTarget() = default;

  /// Zeroed: what a constructor leaves as it is, is not to be mistaken for the address of a handle.
  static void* operator new(std::size_t size);
  static void* operator new(std::size_t size, std::align_val_t alignment);
  static void operator delete(void* memory, std::size_t size) noexcept;
  static void operator delete(void* memory, std::size_t size, std::align_val_t alignment) noexcept;

  /// Once. What it returns is ignored, but an awaitable is awaited on a loop.
  virtual void call() = 0;
  /// Makes a copy of the arguments and destroys it; does nothing if there can be none.
  virtual void copy_arguments() const = 0;
  const void* address() const noexcept { return address_; }
  std::size_t size() const noexcept { return size_; }

 protected:
  ProcessTarget(const ProcessTarget&) = default;
  void set_memory(const void* address, std::size_t size) noexcept {
    address_ = address;
    size_ = size;
  }

 private:
  const void* address_ = nullptr;
  std::size_t size_ = 0;
};

/// Adds to `handles` those that a target was given: in its memory, in vectors that it refers to, and in its arguments.
void add_handles_of(const ProcessTarget& target, FoundHandles& handles);

/// `std::is_copy_constructible` is true for a container of what cannot be copied.
template <class T>
struct CanBeCopied : std::is_copy_constructible<T> {};
template <std::ranges::range T>
struct CanBeCopied<T> : std::bool_constant<std::is_copy_constructible_v<T> &&
                                           (std::is_same_v<std::ranges::range_value_t<T>, T> ||
                                            CanBeCopied<std::remove_const_t<std::ranges::range_value_t<T>>>::value)> {};
template <class First, class Second>
struct CanBeCopied<std::pair<First, Second>>
    : std::conjunction<CanBeCopied<std::remove_const_t<First>>, CanBeCopied<std::remove_const_t<Second>>> {};
template <class... T>
struct CanBeCopied<std::tuple<T...>> : std::conjunction<CanBeCopied<std::remove_const_t<T>>...> {};

template <class F, class... A>
class BoundTarget final : public ProcessTarget {
 public:
  BoundTarget(F&& function, A&&... arguments)
      : function_(std::forward<F>(function)), arguments_(std::forward<A>(arguments)...) {
    set_memory(this, sizeof *this);
  }

  void call() override {
    // Both outlive the call, and the coroutine that it may return.
    std::apply(
        [this](A&... argument) {
          using R = std::invoke_result_t<F, A...>;
          if constexpr (std::is_void_v<R>)
            std::invoke(std::move(function_), std::move(argument)...);
          else if constexpr (Combinable<R>)
            await(std::invoke(std::move(function_), std::move(argument)...));
          else
            static_cast<void>(std::invoke(std::move(function_), std::move(argument)...));
        },
        arguments_);
  }

  void copy_arguments() const override {
    if constexpr ((CanBeCopied<A>::value && ...)) [[maybe_unused]]
      const std::tuple<A...> copy(arguments_);
  }

 private:
  template <class R>
  static void await(R&& awaitable) {
    using Result = std::remove_cvref_t<await_result_t<R>>;
    static_cast<void>(run(to_task<Result>(std::forward<R>(awaitable))));
  }

  F function_;
  std::tuple<A...> arguments_;
};

}  // namespace cofork::detail
