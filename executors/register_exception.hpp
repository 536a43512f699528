// A user's own exceptions, so that they arrive as themselves.
#pragma once

#include <atomic>
#include <cofork/executors/exception_origin.hpp>
#include <cofork/ipc/codec.hpp>
#include <concepts>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace cofork {

namespace detail {

/// How exceptions of one type travel. One object for each type, in a list that only grows.
struct RegisteredException {
  const std::type_info* type;
  /// Appends what makes up `error`, which is of this type.
  void (*encode)(ipc::Writer& writer, const std::exception_ptr& error);
  /// Makes it again, with `nested` in it unless that is null. Throws what its codec throws.
  std::exception_ptr (*decode)(ipc::Reader& reader, const std::exception_ptr& nested);
  const RegisteredException* next = nullptr;
  std::atomic<bool> listed{false};
};

void list_exception(RegisteredException& exception) noexcept;
/// Null if it is not registered.
const RegisteredException* find_registered_exception(const std::type_info& type) noexcept;
/// By the address that it has in every fork of this program, which need not be one; null if it is not registered here.
const RegisteredException* find_registered_exception(std::uintptr_t address) noexcept;

template <class E>
void encode_registered_exception(ipc::Writer& writer, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const E& exception) {
    ipc::encode<E>(writer, exception);
  }
}

template <class E>
std::exception_ptr decode_registered_exception(ipc::Reader& reader, const std::exception_ptr& nested) {
  E exception = ipc::decode<E>(reader);
  reader.finish();
  return make_exception<E>(std::move(exception), nested);
}

template <class E>
inline constinit RegisteredException registered_exception{&typeid(E), &encode_registered_exception<E>,
                                                          &decode_registered_exception<E>};

}  // namespace detail

/// From now on exceptions of exactly the type E that a task throws arrive as E, also those that are nested in others.
/// E is any class with a codec (cofork/ipc/codec.hpp); what its codec does not carry is lost, its `what()` included.
///
/// Call it before the pool is first used: its workers are forked from this process as it is then. An exception that
/// the worker or the receiver has not registered arrives as `RemoteError`, as does one whose codec throws when it
/// encodes; one whose codec throws when it decodes is replaced by what that threw. Twice does no harm. From any thread.
/// Python has this from pickle, where an exception that cannot be decoded breaks the whole pool.
template <class E>
void register_exception() {
  static_assert(std::is_class_v<E> && std::is_same_v<E, std::remove_cv_t<E>>,
                "register_exception<E>: E is a class, not const and no reference or pointer");
  static_assert(std::copy_constructible<E>, "register_exception<E>: what is thrown must be copyable");
  detail::require_codec<E>();
  if constexpr (Encodable<E>) {
    static_assert(!ipc::is_view_v<E>, "register_exception<E>: a view in E would dangle in the process that catches it");
    detail::list_exception(detail::registered_exception<E>);
  }
}

}  // namespace cofork
