// File: a file on disk, read and written on libuv's thread pool.
#pragma once

#include <cofork/runtime/file_info.hpp>
#include <cofork/runtime/task.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace cofork {

namespace detail {
class OpenFile;
}

/// An open file, of bytes (Python's `open(path, mode + "b", buffering=0)`). Move-only; the destructor closes it, which
/// tells nobody of an error: `close()` does.
///
/// Every operation is one call on a thread of libuv's pool (see `to_thread`), and a thread cannot be interrupted in a
/// system call. So cancelling takes an operation back if no thread has begun it; otherwise it ends with the step of at
/// most 128 KiB that is under way, and only then the coroutine goes on. The buffer is not touched after that, nor after
/// the coroutine was destroyed. For what makes its reader wait, a pipe or a terminal, use a byte stream: here it would
/// keep a thread, and cannot be cancelled.
///
/// Operations that use the file's position are awaited one at a time; `read_at`, `write_at`, `stat`, `sync` and
/// `truncate` may overlap with each other and with one of those. `std::logic_error` otherwise, and after `close()`.
/// Operating-system errors are `std::system_error`: "write /dev/full: No space left on device".
class File {
 public:
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  /// Opens as Python's `open` does: "r" reads; "w" writes, and makes or empties the file; "x" makes it, and fails with
  /// EEXIST if it is there; "a" appends every write, and makes it. With "+" for reading and writing; "b" may be added,
  /// and "t", which makes no difference. `std::invalid_argument` for any other mode, at once. Directories are refused
  /// (EISDIR). A new file has the permissions 0666 without the umask.
  static Task<File> open(std::filesystem::path path, std::string_view mode = "r");

  /// A file without a name, for reading and writing, in the directory for temporary files or in `directory`
  /// (`tempfile.TemporaryFile`). It is gone when it is closed, or its process has ended, in whatever way.
  static Task<File> temporary(std::filesystem::path directory = {});

  /// Reads at the file's position, and moves that. Fewer bytes than `into` has room for: the end of the file was
  /// reached, or the operation was cancelled after some of them. 0 at the end.
  Task<std::size_t> read(std::span<std::byte> into);
  /// Writes all of it at the file's position. Cancelled, or after an error, some of it may have been written.
  Task<> write(std::span<const std::byte> bytes);
  Task<> write(std::string_view bytes);

  /// The same at `offset`, without the file's position. With mode "a" Linux appends nevertheless.
  Task<std::size_t> read_at(std::span<std::byte> into, std::uint64_t offset);
  Task<> write_at(std::span<const std::byte> bytes, std::uint64_t offset);
  Task<> write_at(std::string_view bytes, std::uint64_t offset);

  enum class SeekFrom { start, current, end };
  /// Moves the position and gives the new one. It does not block. `std::system_error`, EINVAL before the start.
  std::uint64_t seek(std::int64_t offset, SeekFrom from = SeekFrom::start);
  std::uint64_t tell() const;

  Task<FileInfo> stat();
  /// Everything written is on the disk (`os.fsync`).
  Task<> sync();
  /// Cuts the file, or extends it with zeros.
  Task<> truncate(std::uint64_t size);

  /// Idempotent. If an operation is still under way the descriptor is closed at its end; otherwise now, and
  /// `std::system_error` tells if that failed.
  void close();
  /// Stays this object's. `std::logic_error` after `close()`.
  int native_handle() const;

 private:
  explicit File(std::shared_ptr<detail::OpenFile> open) noexcept;
  const std::shared_ptr<detail::OpenFile>& opened() const;

  std::shared_ptr<detail::OpenFile> open_;
};

}  // namespace cofork
