// Directories, and the names of files.
#pragma once

#include <cofork/runtime/task.hpp>
#include <filesystem>
#include <string>
#include <vector>

namespace cofork {

/// `os.DirEntry`.
struct DirectoryEntry {
  std::string name;                 ///< Without the directory.
  std::filesystem::file_type type;  ///< Of the entry itself; `unknown` where the file system does not say.

  bool operator==(const DirectoryEntry&) const = default;
};

// Each of these is a call on a thread of libuv's pool. Cancelling takes it back if no thread has begun it; otherwise it
// waits for its end. Errors are `std::system_error`.

/// What is in a directory, but for "." and "..", by name (`os.scandir`).
Task<std::vector<DirectoryEntry>> read_directory(std::filesystem::path path);

/// Gives a file or directory another name, and replaces an existing file of that name (`os.replace`).
Task<> rename_file(std::filesystem::path from, std::filesystem::path to);
/// Removes a file or a symbolic link (`os.remove`).
Task<> remove_file(std::filesystem::path path);
/// Makes a directory (`os.mkdir`), with the permissions 0777 without the umask.
Task<> make_directory(std::filesystem::path path);
/// Removes an empty directory (`os.rmdir`).
Task<> remove_directory(std::filesystem::path path);
/// Makes an empty directory with a name that nobody has, for this user only, in the directory for temporary files or in
/// `parent`, and gives its path (`tempfile.mkdtemp`). It stays until it is removed: `remove_tree`.
Task<std::filesystem::path> make_temporary_directory(std::filesystem::path parent = {});
/// Removes a directory with everything below it, or a file; nothing if it is not there. Gives how many were removed.
Task<std::uintmax_t> remove_tree(std::filesystem::path path);

}  // namespace cofork
