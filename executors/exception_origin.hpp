// Exceptions of any type that know where they came from: what is behind `remote_info`.
//
// The exception is thrown with a destructor that also forgets its origin, which a table holds under the address of the
// exception object. So its type is just E, and the table has no more than the exceptions that are alive.
#pragma once

#include <cxxabi.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace cofork::detail {

struct ExceptionOrigin {
  pid_t pid = 0;
  std::string task_name;
  std::vector<std::uintptr_t> stack;  ///< Addresses, the same in every fork of this program.
};

/// Makes room for the origin of an exception object that calls `forget_origin` when it is destroyed.
void expect_origin(const void* object) noexcept;
void forget_origin(const void* object) noexcept;
/// Notes where an exception came from. Of one that nobody expected it of, nothing is noted.
void set_origin(const std::exception_ptr& error, ExceptionOrigin origin) noexcept;
/// All empty if it has none. Throws std::bad_alloc.
ExceptionOrigin origin_of(const std::exception_ptr& error);

/// What holds an exception and another one that is nested in it.
struct NestingException : std::nested_exception {
  virtual const std::type_info& type_without_nested() const noexcept = 0;
};
template <class E>
struct WithNested final : E, NestingException {
  explicit WithNested(E&& error) : E(std::move(error)) {}
  const std::type_info& type_without_nested() const noexcept override { return typeid(E); }
};

template <class E>
std::exception_ptr throw_and_catch(E&& error) noexcept {
  using Object = std::remove_cvref_t<E>;
  static_assert(alignof(Object) <= alignof(std::max_align_t), "an exception of such an alignment cannot be thrown");
  try {
    void* const memory = abi::__cxa_allocate_exception(sizeof(Object));
    try {
      new (memory) Object(std::move(error));
    } catch (...) {
      abi::__cxa_free_exception(memory);
      throw;
    }
    expect_origin(memory);
    abi::__cxa_throw(memory, const_cast<std::type_info*>(&typeid(Object)), [](void* object) {
      forget_origin(object);
      std::destroy_at(static_cast<Object*>(object));
    });
  } catch (...) {
    return std::current_exception();
  }
}

/// As `std::make_exception_ptr`, or with `nested` in it, if E can be derived from.
template <class E>
std::exception_ptr make_exception(E error, const std::exception_ptr& nested = nullptr) noexcept {
  if constexpr (std::is_class_v<E> && !std::is_final_v<E> && !std::is_base_of_v<std::nested_exception, E>) {
    if (nested) {
      try {
        std::rethrow_exception(nested);
      } catch (...) {
        try {
          return throw_and_catch(WithNested<E>(std::move(error)));
        } catch (...) {
          return std::current_exception();
        }
      }
    }
  }
  return throw_and_catch(std::move(error));
}

/// An exception that the library makes for what happened to a task.
template <class E>
std::exception_ptr make_exception_from(E error, ExceptionOrigin origin) noexcept {
  std::exception_ptr made = make_exception(std::move(error));
  set_origin(made, std::move(origin));
  return made;
}

}  // namespace cofork::detail
