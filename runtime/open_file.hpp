// The descriptor of a file, and who uses it at the moment. Not for users.
#pragma once

#include <cofork/runtime/system_call.hpp>
#include <memory>
#include <string>

namespace cofork::detail {

/// One loop's thread, but for `descriptor` and `path`.
class OpenFile {
 public:
  OpenFile(Descriptor descriptor, std::string path) : descriptor_(std::move(descriptor)), path_(std::move(path)) {}

  int descriptor() const noexcept { return descriptor_.get(); }
  const char* path() const noexcept { return path_.c_str(); }

  /// `std::logic_error` if it is closed, or another operation uses its position.
  void check_usable(const char* operation, bool uses_position) const;
  /// The errno of closing it now, 0 if it is in use still: then the last user closes it.
  int close() noexcept;

 private:
  friend class FileUse;
  Descriptor descriptor_;
  const std::string path_;
  unsigned users_ = 0;
  bool position_used_ = false;
  bool closed_ = false;
};

/// Keeps the file open for one operation.
class FileUse {
 public:
  FileUse(std::shared_ptr<OpenFile> file, const char* operation, bool uses_position);
  FileUse(const FileUse&) = delete;
  FileUse& operator=(const FileUse&) = delete;
  ~FileUse() { end(); }

  /// The operation is over. Idempotent.
  void end() noexcept;
  int descriptor() const noexcept { return file_->descriptor(); }
  const char* path() const noexcept { return file_->path(); }

 private:
  const std::shared_ptr<OpenFile> file_;
  const bool uses_position_;
  bool ended_ = false;
};

}  // namespace cofork::detail
