#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cofork/ipc/memory_state.hpp>
#include <cstdint>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {
constexpr const char* handle_name = "shared memory";

constexpr std::size_t longest_name = 250;

bool is_good(std::string_view name) {
  return !name.empty() && name.size() <= longest_name && name.find('/') == name.npos && name.find('\0') == name.npos &&
         name != "." && name != "..";
}

std::string path_of(std::string_view name) {
  if (name.starts_with('/')) name.remove_prefix(1);
  if (!is_good(name)) throw std::invalid_argument("SharedMemory: the name must be a file's, without a slash");
  return '/' + std::string(name);
}

ipc::MemoryFile open(const std::string& path, int flags) {
  ipc::Descriptor descriptor(::shm_open(path.c_str(), flags | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!descriptor.valid()) throw std::system_error(errno, std::generic_category(), "shared memory " + path);
  return ipc::MemoryFile(std::move(descriptor));
}

/// Whether the name may still be that of this memory: somebody may have unlinked it, and given it to another.
bool may_name(const std::string& path, int memory) noexcept {
  const ipc::Descriptor named(::shm_open(path.c_str(), O_RDONLY | O_CLOEXEC, 0));
  if (!named.valid()) return errno != ENOENT;
  struct stat there = {}, here = {};
  return ::fstat(named.get(), &there) < 0 || ::fstat(memory, &here) < 0 ||
         (there.st_dev == here.st_dev && there.st_ino == here.st_ino);
}

bool is_regular_file(int descriptor) {
  struct stat status = {};
  return ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

MemoryState::MemoryState(std::size_t size)
    : HandleState(handle_name), file_(ipc::MemoryFile::create("cofork-memory", size)) {
  file_.seal_size();
  map(size);
}

MemoryState::MemoryState(std::string_view file_name, std::size_t size)
    : HandleState(handle_name),
      file_(open(path_of(file_name), O_RDWR | O_CREAT | O_EXCL)),
      file_name_(file_name),
      is_creator_(true) {
  try {
    file_.grow(size);
    map(size);
  } catch (...) {
    ::shm_unlink(path_of(file_name).c_str());
    throw;
  }
}

MemoryState::MemoryState(std::string_view file_name)
    : HandleState(handle_name), file_(open(path_of(file_name), O_RDWR)), file_name_(file_name) {
  const std::size_t size = file_.size();
  // Its creator has not got further yet.
  if (size == 0) throw std::system_error(ENOENT, std::generic_category(), "shared memory " + path_of(file_name));
  map(size);
}

MemoryState::MemoryState(ipc::Reader& reader) : HandleState(handle_name) {
  file_name_.resize(reader.size(1));
  reader.bytes(file_name_.data(), file_name_.size());
  const auto size = reader.value<std::uint64_t>();
  file_ = ipc::MemoryFile(reader.descriptor());
  if (!is_regular_file(file_.descriptor()) || size > file_.size() ||
      (file_name_.empty() && !ipc::cannot_shrink(file_.descriptor())))
    ipc::Reader::fail("shared memory that is not there");
  map(size);
}

MemoryState::~MemoryState() {
  if (!is_creator_ || generation_ != fork_generation()) return;
  if (const std::string path = path_of(file_name_); may_name(path, file_.descriptor())) ::shm_unlink(path.c_str());
}

void MemoryState::map(std::size_t size) {
  mapping_ = ipc::Mapping(file_.descriptor(), size, ipc::Mapping::Access::read_write, ipc::Mapping::OnFork::keep);
}

void MemoryState::unlink() {
  if (file_name_.empty()) throw std::logic_error("SharedMemory::unlink: it has no name");
  is_creator_ = false;
  const std::string path = path_of(file_name_);
  if (::shm_unlink(path.c_str()) < 0) throw std::system_error(errno, std::generic_category(), "shared memory " + path);
}

void MemoryState::encode(ipc::Writer& writer) const {
  writer.size(file_name_.size());
  writer.bytes(file_name_.data(), file_name_.size());
  writer.value(std::uint64_t{size()});
  writer.descriptor(file_.descriptor());
}

void MemoryState::list_descriptors(std::vector<int>& to) const {
  if (given()) to.push_back(file_.descriptor());
}

void MemoryState::after_fork_in_child(bool given) noexcept {
  if (!given) static_cast<void>(file_.release().release());
}

}  // namespace cofork::detail
