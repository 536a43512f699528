// A file read or written as a whole.
#pragma once

#include <cofork/runtime/task.hpp>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace cofork {

/// Everything in the file at `path` (`pathlib.Path.read_bytes`): opened, read and closed in one call on a thread of
/// libuv's pool. Cancelling ends it within a step, and then throws. Throws `std::system_error`.
Task<std::string> read_file(std::filesystem::path path);

/// Makes the file, or replaces what is in it (`pathlib.Path.write_bytes`), in one call on a thread. The bytes are the
/// caller's until the task has ended. Cancelled, or after an error, the file may hold a part of them. Throws
/// `std::system_error`.
Task<> write_file(std::filesystem::path path, std::string_view text);
Task<> write_file(std::filesystem::path path, std::span<const std::byte> bytes);

}  // namespace cofork
