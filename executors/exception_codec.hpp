// Exceptions as bytes: how what a worker throws arrives at the caller's `co_await`.
//
// A standard exception, or one of the library, arrives as its own type with the same `what()`, if its dynamic type is
// exactly that; so does one that `register_exception` was told of; any other as `RemoteError`. What
// `std::throw_with_nested` throws counts as the type it was given, and what is nested in it travels along.
#pragma once

#include <sys/types.h>

#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>
#include <exception>
#include <string>

namespace cofork::detail {

/// Exceptions nested in each other: deeper ones are left out.
inline constexpr unsigned max_nested_exceptions = 32;

/// Appends `error`, which must not be null. Throws only what the writer does when it cannot grow.
void encode_exception(ipc::Writer& writer, const std::exception_ptr& error);

/// Reads what `encode_exception` wrote. Never null. Throws DecodeError for anything else, and what the codec of a
/// registered exception throws. `remote_info` tells of it, and of those nested in it, the process and the task given
/// here (unless it had come to that process from another one) and where it was thrown.
std::exception_ptr decode_exception(ipc::Reader& reader, pid_t pid = 0, const std::string& task_name = {});

}  // namespace cofork::detail
