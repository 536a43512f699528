// Exceptions as bytes: how what a worker throws arrives at the caller's `co_await`.
//
// A standard exception, or one of the library, arrives as its own type with the same `what()`, if its dynamic type is
// exactly that; any other as `RemoteError`. What `std::throw_with_nested` throws counts as the type it was given, and
// what is nested in it travels along.
#pragma once

#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>
#include <exception>

namespace cofork::detail {

/// Exceptions nested in each other: deeper ones are left out.
inline constexpr unsigned max_nested_exceptions = 32;

/// Appends `error`, which must not be null. Throws only what the writer does when it cannot grow.
void encode_exception(ipc::Writer& writer, const std::exception_ptr& error);

/// Reads what `encode_exception` wrote. Never null. Throws DecodeError for anything else.
std::exception_ptr decode_exception(ipc::Reader& reader);

}  // namespace cofork::detail
