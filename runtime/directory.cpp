#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cofork/runtime/directory.hpp>
#include <cofork/runtime/in_thread.hpp>
#include <cofork/runtime/system_call.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>

namespace cofork {

namespace fs = std::filesystem;

namespace {

fs::file_type type_of(unsigned char kind) {
  switch (kind) {
    case DT_REG:
      return fs::file_type::regular;
    case DT_DIR:
      return fs::file_type::directory;
    case DT_LNK:
      return fs::file_type::symlink;
    case DT_BLK:
      return fs::file_type::block;
    case DT_CHR:
      return fs::file_type::character;
    case DT_FIFO:
      return fs::file_type::fifo;
    case DT_SOCK:
      return fs::file_type::socket;
    default:
      return fs::file_type::unknown;
  }
}

std::vector<DirectoryEntry> list(const char* path) {
  const auto close = [](DIR* open) { ::closedir(open); };
  const std::unique_ptr<DIR, decltype(close)> directory(::opendir(path), close);
  if (!directory) detail::throw_errno("open directory", path);
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(directory.get());
    if (!entry) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") entries.push_back({std::string(name), type_of(entry->d_type)});
  }
  if (errno != 0) detail::throw_errno("read directory", path);
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  return entries;
}

}  // namespace

Task<std::vector<DirectoryEntry>> read_directory(fs::path path) {
  return detail::in_thread([path = std::move(path)] { return list(path.c_str()); });
}

Task<> rename_file(fs::path from, fs::path to) {
  return detail::in_thread([from = std::move(from), to = std::move(to)] {
    if (::rename(from.c_str(), to.c_str()) < 0)
      detail::throw_errno("rename", (from.string() + " to " + to.string()).c_str());
  });
}

Task<> remove_file(fs::path path) {
  return detail::in_thread([path = std::move(path)] {
    if (::unlink(path.c_str()) < 0) detail::throw_errno("remove", path.c_str());
  });
}

Task<> make_directory(fs::path path) {
  return detail::in_thread([path = std::move(path)] {
    if (::mkdir(path.c_str(), 0777) < 0) detail::throw_errno("make directory", path.c_str());
  });
}

Task<> remove_directory(fs::path path) {
  return detail::in_thread([path = std::move(path)] {
    if (::rmdir(path.c_str()) < 0) detail::throw_errno("remove directory", path.c_str());
  });
}

Task<fs::path> make_temporary_directory(fs::path parent) {
  return detail::in_thread([parent = std::move(parent)] {
    const fs::path& directory = parent.empty() ? fs::temp_directory_path() : parent;
    std::string path = directory / "cofork-XXXXXX";
    if (!::mkdtemp(path.data())) detail::throw_errno("make directory", path.c_str());
    return fs::path(path);
  });
}

Task<std::uintmax_t> remove_tree(fs::path path) {
  return detail::in_thread([path = std::move(path)] {
    std::error_code error;
    const std::uintmax_t removed = fs::remove_all(path, error);
    if (error) throw std::system_error(error, "remove " + path.string());
    return removed;
  });
}

}  // namespace cofork
