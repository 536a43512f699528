// What a piece of work ended with: nothing yet, a value, or an exception.
#pragma once

#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>

namespace cofork::detail {

/// `T` as an object: `std::monostate` for void, a pointer for a reference.
template <class T>
using Stored =
    std::conditional_t<std::is_void_v<T>, std::monostate,
                       std::conditional_t<std::is_reference_v<T>, std::add_pointer_t<T>, std::remove_cv_t<T>>>;

/// `T` as an element of a tuple, a variant or a vector of results.
template <class T>
using ResultValue = std::conditional_t<std::is_void_v<T>, std::monostate, std::remove_cvref_t<T>>;

template <class T>
class Outcome {
 public:
  Outcome() noexcept {}
  Outcome(Outcome&& other) noexcept(std::is_nothrow_move_constructible_v<Stored<T>>) { take(other); }
  Outcome& operator=(Outcome&& other) noexcept(std::is_nothrow_move_constructible_v<Stored<T>>) {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~Outcome() { reset(); }

  template <class... A>
  void set_value(A&&... arguments) {
    reset();
    if constexpr (std::is_reference_v<T>)
      std::construct_at(&value_, std::addressof(arguments)...);
    else
      std::construct_at(&value_, std::forward<A>(arguments)...);
    state_ = State::value;
  }
  void set_error(std::exception_ptr error) noexcept {
    reset();
    std::construct_at(&error_, std::move(error));
    state_ = State::error;
  }

  bool has_value() const noexcept { return state_ == State::value; }
  bool has_error() const noexcept { return state_ == State::error; }
  const std::exception_ptr& error() const noexcept { return error_; }
  Stored<T>& value() noexcept { return value_; }

  /// The value moved out, or the exception thrown.
  T take() {
    if (state_ == State::error) std::rethrow_exception(std::move(error_));
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value_);
    else if constexpr (!std::is_void_v<T>)
      return std::move(value_);
  }

  void reset() noexcept {
    if (state_ == State::value) std::destroy_at(&value_);
    if (state_ == State::error) std::destroy_at(&error_);
    state_ = State::empty;
  }

 private:
  void take(Outcome& other) {
    if (other.state_ == State::value) std::construct_at(&value_, std::move(other.value_));
    if (other.state_ == State::error) std::construct_at(&error_, std::move(other.error_));
    state_ = other.state_;
  }

  enum class State : unsigned char { empty, value, error };
  union {
    Stored<T> value_;
    std::exception_ptr error_;
  };
  State state_ = State::empty;
};

}  // namespace cofork::detail
