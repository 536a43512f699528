#include <cofork/ipc/memory_file.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::ipc {
namespace {

[[noreturn]] void throw_errno(const char* operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

void set_size(int descriptor, std::size_t size) {
  if (size > static_cast<std::size_t>(std::numeric_limits<off_t>::max())) {
    throw std::system_error(EFBIG, std::generic_category(), "ftruncate of a memory file");
  }
  int result = 0;
  do {
    result = ::ftruncate(descriptor, static_cast<off_t>(size));
  } while (result < 0 && errno == EINTR);
  if (result < 0) throw_errno("ftruncate of a memory file");
}

void add_seals(int descriptor, int seals) {
  if (::fcntl(descriptor, F_ADD_SEALS, seals) < 0) throw_errno("sealing a memory file");
}

std::byte* map(int descriptor, std::size_t size, Mapping::Access access) {
  if (size == 0) return nullptr;
  const int protection = access == Mapping::Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  void* const address = ::mmap(nullptr, size, protection, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) throw_errno("mmap of a memory file");
  return static_cast<std::byte*>(address);
}

void unmap(std::byte* data, std::size_t size) noexcept {
  if (data != nullptr) ::munmap(data, size);
}

}  // namespace

MemoryFile MemoryFile::create(const char* name, std::size_t size) {
  Descriptor descriptor(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!descriptor.valid()) throw_errno("memfd_create");
  set_size(descriptor.get(), size);
  return MemoryFile(std::move(descriptor));
}

std::size_t MemoryFile::size() const {
  struct stat status = {};
  if (::fstat(descriptor(), &status) < 0) throw_errno("fstat of a memory file");
  return static_cast<std::size_t>(status.st_size);
}

void MemoryFile::grow(std::size_t size) {
  if (size < this->size()) throw std::invalid_argument("MemoryFile::grow: smaller than the present size");
  set_size(descriptor(), size);
}

bool cannot_shrink(int descriptor) noexcept {
  const int seals = ::fcntl(descriptor, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

void MemoryFile::seal_shrink() { add_seals(descriptor(), F_SEAL_SHRINK); }
void MemoryFile::seal_size() { add_seals(descriptor(), F_SEAL_SHRINK | F_SEAL_GROW); }

Descriptor MemoryFile::read_only_descriptor() const {
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", descriptor());
  Descriptor copy(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!copy.valid()) throw_errno("opening a memory file for reading");
  return copy;
}

Mapping::Mapping(int descriptor, std::size_t size, Access access, OnFork on_fork)
    : data_(map(descriptor, size, access)), size_(size) {
  if (on_fork == OnFork::keep || data_ == nullptr) return;
  if (::madvise(data_, size_, MADV_DONTFORK) < 0) {
    const int error = errno;
    unmap(data_, size_);
    throw std::system_error(error, std::generic_category(), "madvise(MADV_DONTFORK) of a memory file");
  }
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    unmap(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() { unmap(data_, size_); }

void Mapping::resize(std::size_t size) {
  if (data_ == nullptr || size == 0) throw std::invalid_argument("Mapping::resize: an empty mapping");
  void* const address = ::mremap(data_, size_, size, MREMAP_MAYMOVE);
  if (address == MAP_FAILED) throw_errno("mremap of a memory file");
  data_ = static_cast<std::byte*>(address);
  size_ = size;
}

void Mapping::discard(std::size_t offset, std::size_t length) {
  if (offset > size_ || length > size_ - offset) throw std::out_of_range("Mapping::discard: beyond the mapping");
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t first = (offset + page - 1) / page * page;
  const std::size_t last = (offset + length) / page * page;
  if (first >= last) return;
  if (::madvise(data_ + first, last - first, MADV_REMOVE) < 0) throw_errno("discarding pages of a memory file");
}

}  // namespace cofork::ipc
