// The file of a Unix socket that listens. Not for users.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace cofork::detail {

/// Removes the file when it is destroyed in the process that made it, unless the file is another socket's by then.
/// Shared by whoever accepts there: the listener's state, and children that were given it.
class SocketFile {
 public:
  /// Null if no socket has this path.
  static std::shared_ptr<SocketFile> at(const std::string& path);
  SocketFile(const SocketFile&) = delete;
  ~SocketFile() { remove(); }

  /// Lets another process remove it, which is told the path; empty if that is not for this process to say.
  static std::string hand_over(const std::shared_ptr<SocketFile>& file) noexcept;

 private:
  SocketFile(std::string path, dev_t device, ino_t inode);
  void remove() const noexcept;

  std::string path_;
  pid_t owner_;
  dev_t device_;
  ino_t inode_;
};

using SocketFilePtr = std::shared_ptr<SocketFile>;

}  // namespace cofork::detail
