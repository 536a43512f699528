// What is known of a file.
#pragma once

#include <sys/stat.h>  // for the function, which overloads with ours: the struct alone would make the name ambiguous

#include <chrono>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <filesystem>

namespace cofork {

/// `os.stat_result`, of it what programs ask for.
struct FileInfo {
  std::uint64_t size;                              ///< In bytes.
  unsigned mode;                                   ///< Type and permissions, as `st_mode`.
  std::chrono::system_clock::time_point modified;  ///< When its contents changed last.

  bool is_regular_file() const noexcept;
  bool is_directory() const noexcept;
};

/// What is known of the file at `path`, symbolic links followed (`os.stat`). Cancelling waits for the call if a thread
/// has begun it. Throws `std::system_error`.
Task<FileInfo> stat(std::filesystem::path path);

namespace detail {
/// Blocking. Throws `std::system_error`.
FileInfo info_of(int descriptor, const char* path);
}  // namespace detail

}  // namespace cofork
