#include <sys/stat.h>
#include <unistd.h>

#include <cofork/runtime/socket_file.hpp>
#include <filesystem>
#include <system_error>
#include <utility>

namespace cofork::detail {

SocketFile::SocketFile(std::string path, dev_t device, ino_t inode)
    : path_(std::move(path)), owner_(::getpid()), device_(device), inode_(inode) {}

SocketFilePtr SocketFile::at(const std::string& path) {
  struct stat status = {};
  if (path.empty() || ::stat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode)) return nullptr;
  // The working directory may be another one when it is removed.
  std::error_code unknown;
  const std::filesystem::path absolute = std::filesystem::absolute(path, unknown);
  return SocketFilePtr(new SocketFile(unknown ? path : absolute.string(), status.st_dev, status.st_ino));
}

std::string SocketFile::hand_over(const SocketFilePtr& file) noexcept {
  if (!file || file->owner_ != ::getpid()) return {};
  return std::exchange(file->path_, {});
}

void SocketFile::remove() const noexcept {
  struct stat status = {};
  if (!path_.empty() && owner_ == ::getpid() && ::stat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_)
    static_cast<void>(::unlink(path_.c_str()));
}

}  // namespace cofork::detail
