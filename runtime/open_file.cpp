#include <cofork/runtime/open_file.hpp>
#include <stdexcept>

namespace cofork::detail {

void OpenFile::check_usable(const char* operation, bool uses_position) const {
  if (closed_) throw std::logic_error(std::string("File::") + operation + ": " + path_ + " is closed");
  if (uses_position && position_used_)
    throw std::logic_error(std::string("File::") + operation + ": another operation uses the position of " + path_);
}

int OpenFile::close() noexcept {
  closed_ = true;
  return users_ == 0 ? close_checked(descriptor_) : 0;
}

FileUse::FileUse(std::shared_ptr<OpenFile> file, const char* operation, bool uses_position)
    : file_(std::move(file)), uses_position_(uses_position) {
  file_->check_usable(operation, uses_position);
  ++file_->users_;
  if (uses_position) file_->position_used_ = true;
}

void FileUse::end() noexcept {
  if (std::exchange(ended_, true)) return;
  if (uses_position_) file_->position_used_ = false;
  if (--file_->users_ == 0 && file_->closed_) file_->descriptor_.reset();
}

}  // namespace cofork::detail
