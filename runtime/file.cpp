#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cofork/runtime/file.hpp>
#include <cofork/runtime/in_thread.hpp>
#include <cofork/runtime/open_file.hpp>
#include <cofork/runtime/transfer_task.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace cofork {

using detail::Descriptor;
using detail::FileUse;
using detail::OpenFile;
using detail::Transfer;

namespace {

int parse_mode(std::string_view mode) {
  const auto count = [mode](char letter) { return std::count(mode.begin(), mode.end(), letter); };
  const auto kinds = count('r') + count('w') + count('x') + count('a');
  const bool valid = kinds == 1 && count('+') <= 1 && count('b') + count('t') <= 1 &&
                     mode.find_first_not_of("rwxa+bt") == std::string_view::npos;
  if (!valid) throw std::invalid_argument("File::open: invalid mode \"" + std::string(mode) + '"');
  int flags = O_CLOEXEC;
  if (count('+') == 1)
    flags |= O_RDWR;
  else
    flags |= count('r') == 1 ? O_RDONLY : O_WRONLY;
  if (count('w') == 1) flags |= O_CREAT | O_TRUNC;
  if (count('x') == 1) flags |= O_CREAT | O_EXCL;
  if (count('a') == 1) flags |= O_CREAT | O_APPEND;
  return flags;
}

Descriptor open_now(const char* path, int flags) {
  Descriptor file(detail::retry_interrupted([&] { return ::open(path, flags, 0666); }));
  if (!file) detail::throw_errno("open", path);
  struct stat status;
  if (::fstat(file.get(), &status) < 0) detail::throw_errno("stat", path);
  if (S_ISDIR(status.st_mode)) {
    errno = EISDIR;
    detail::throw_errno("open", path);
  }
  return file;
}

Descriptor open_unnamed(const std::filesystem::path& directory) {
  Descriptor file(detail::retry_interrupted(
      [&] { return ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR); }));
  if (file) return file;
  // Not every file system has O_TMPFILE, and then open says one of these.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
    detail::throw_errno("open a temporary file in", directory.c_str());
  std::string path = directory / "cofork-XXXXXX";
  file.reset(::mkostemp(path.data(), O_CLOEXEC));
  if (!file) detail::throw_errno("open a temporary file in", directory.c_str());
  if (::unlink(path.c_str()) < 0) detail::throw_errno("unlink", path.c_str());
  return file;
}

/// One call on a thread that uses the file, but no buffer of the caller's.
template <class F>
Task<std::invoke_result_t<F, const FileUse&>> use_file(std::shared_ptr<OpenFile> file, const char* operation,
                                                       F function) {
  co_await detail::CancellationPoint();
  const auto use = std::make_shared<FileUse>(std::move(file), operation, false);
  const auto call = [use, function] { return function(*use); };
  Future<std::invoke_result_t<F, const FileUse&>> future = to_thread(call);
  co_return co_await std::move(future);
}

/// Another operation may follow its end at once, although the thread's share in `use` lives a little longer.
template <class R>
Task<R> end_use(Task<R> operation, std::shared_ptr<FileUse> use) {
  try {
    if constexpr (std::is_void_v<R>) {
      co_await std::move(operation);
      use->end();
    } else {
      R result = co_await std::move(operation);
      use->end();
      co_return result;
    }
  } catch (...) {
    use->end();
    throw;
  }
}

Task<std::size_t> read_from(std::shared_ptr<OpenFile> file, std::span<std::byte> into,
                            std::optional<std::uint64_t> offset) {
  co_await detail::CancellationPoint();
  const auto use = std::make_shared<FileUse>(std::move(file), offset ? "read_at" : "read", !offset);
  Task<std::size_t> reading = detail::transfer_in_thread(
      into, [use, offset](Transfer& bytes) { return bytes.read(use->descriptor(), use->path(), offset); });
  co_return co_await end_use(std::move(reading), use);
}

Task<> write_to(std::shared_ptr<OpenFile> file, std::span<const std::byte> bytes, std::optional<std::uint64_t> offset) {
  co_await detail::CancellationPoint();
  const auto use = std::make_shared<FileUse>(std::move(file), offset ? "write_at" : "write", !offset);
  Task<> writing = detail::transfer_in_thread(
      bytes, [use, offset](Transfer& from) { from.write(use->descriptor(), use->path(), offset); });
  co_await end_use(std::move(writing), use);
}

Task<File> make_file(Task<Descriptor> opening, std::string path, File (*make)(std::shared_ptr<OpenFile>)) {
  Descriptor descriptor = co_await std::move(opening);
  co_return make(std::make_shared<OpenFile>(std::move(descriptor), std::move(path)));
}

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

File::File(std::shared_ptr<OpenFile> open) noexcept : open_(std::move(open)) {}
File::File(File&&) noexcept = default;

File& File::operator=(File&& other) noexcept {
  if (this == &other) return *this;
  if (open_) open_->close();
  open_ = std::move(other.open_);
  return *this;
}

File::~File() {
  if (open_) open_->close();
}

const std::shared_ptr<OpenFile>& File::opened() const {
  if (!open_) throw std::logic_error("this file was moved from");
  return open_;
}

Task<File> File::open(std::filesystem::path path, std::string_view mode) {
  const int flags = parse_mode(mode);
  std::string name = path.string();
  auto opening = detail::in_thread([path = std::move(path), flags] { return open_now(path.c_str(), flags); });
  return make_file(std::move(opening), std::move(name),
                   [](std::shared_ptr<OpenFile> file) { return File(std::move(file)); });
}

Task<File> File::temporary(std::filesystem::path directory) {
  auto opening = detail::in_thread([directory = std::move(directory)] {
    return open_unnamed(directory.empty() ? std::filesystem::temp_directory_path() : directory);
  });
  return make_file(std::move(opening), "a temporary file",
                   [](std::shared_ptr<OpenFile> file) { return File(std::move(file)); });
}

Task<std::size_t> File::read(std::span<std::byte> into) { return read_from(opened(), into, std::nullopt); }
Task<> File::write(std::span<const std::byte> bytes) { return write_to(opened(), bytes, std::nullopt); }
Task<> File::write(std::string_view bytes) { return write(as_bytes(bytes)); }

Task<std::size_t> File::read_at(std::span<std::byte> into, std::uint64_t offset) {
  return read_from(opened(), into, offset);
}
Task<> File::write_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  return write_to(opened(), bytes, offset);
}
Task<> File::write_at(std::string_view bytes, std::uint64_t offset) { return write_at(as_bytes(bytes), offset); }

std::uint64_t File::seek(std::int64_t offset, SeekFrom from) {
  OpenFile& file = *opened();
  file.check_usable("seek", true);
  const int whence = from == SeekFrom::start ? SEEK_SET : from == SeekFrom::current ? SEEK_CUR : SEEK_END;
  const off_t position = ::lseek(file.descriptor(), offset, whence);
  if (position < 0) detail::throw_errno("seek in", file.path());
  return static_cast<std::uint64_t>(position);
}

std::uint64_t File::tell() const {
  OpenFile& file = *opened();
  file.check_usable("tell", true);
  const off_t position = ::lseek(file.descriptor(), 0, SEEK_CUR);
  if (position < 0) detail::throw_errno("tell in", file.path());
  return static_cast<std::uint64_t>(position);
}

Task<FileInfo> File::stat() {
  return use_file(opened(), "stat", [](const FileUse& use) { return detail::info_of(use.descriptor(), use.path()); });
}

Task<> File::sync() {
  return use_file(opened(), "sync", [](const FileUse& use) {
    if (::fsync(use.descriptor()) < 0) detail::throw_errno("sync", use.path());
  });
}

Task<> File::truncate(std::uint64_t size) {
  return use_file(opened(), "truncate", [size](const FileUse& use) {
    const int result =
        detail::retry_interrupted([&] { return ::ftruncate(use.descriptor(), static_cast<off_t>(size)); });
    if (result < 0) detail::throw_errno("truncate", use.path());
  });
}

void File::close() {
  OpenFile& file = *opened();
  errno = file.close();
  if (errno != 0) detail::throw_errno("close", file.path());
}

int File::native_handle() const {
  opened()->check_usable("native_handle", false);
  return open_->descriptor();
}

}  // namespace cofork
