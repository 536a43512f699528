#include <sys/stat.h>

#include <cofork/runtime/file_info.hpp>
#include <cofork/runtime/in_thread.hpp>
#include <cofork/runtime/system_call.hpp>

namespace cofork {

namespace {
FileInfo make_info(const struct stat& status) {
  const auto since_epoch =
      std::chrono::seconds(status.st_mtim.tv_sec) + std::chrono::nanoseconds(status.st_mtim.tv_nsec);
  return {static_cast<std::uint64_t>(status.st_size), status.st_mode,
          std::chrono::system_clock::time_point(
              std::chrono::duration_cast<std::chrono::system_clock::duration>(since_epoch))};
}
}  // namespace

bool FileInfo::is_regular_file() const noexcept { return S_ISREG(mode); }
bool FileInfo::is_directory() const noexcept { return S_ISDIR(mode); }

FileInfo detail::info_of(int descriptor, const char* path) {
  struct stat status;
  if (::fstat(descriptor, &status) < 0) throw_errno("stat", path);
  return make_info(status);
}

Task<FileInfo> stat(std::filesystem::path path) {
  return detail::in_thread([path = std::move(path)] {
    struct stat status;
    if (::stat(path.c_str(), &status) < 0) detail::throw_errno("stat", path.c_str());
    return make_info(status);
  });
}

}  // namespace cofork
