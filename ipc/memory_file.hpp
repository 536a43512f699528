// Anonymous shared memory: a memfd, and mappings of it.
#pragma once

#include <cofork/ipc/descriptor.hpp>
#include <cstddef>
#include <span>

namespace cofork::ipc {

/// A file that lives in memory and has no name in any directory: it is gone with its last descriptor and mapping.
/// Every error is a std::system_error that names the operation.
class MemoryFile {
 public:
  MemoryFile() = default;
  /// Adopts a descriptor that came from another process.
  explicit MemoryFile(Descriptor descriptor) : descriptor_(static_cast<Descriptor&&>(descriptor)) {}

  /// Makes a file of `size` bytes, all zero; memory is taken as pages are written. `name` is for /proc/<pid>/maps only.
  static MemoryFile create(const char* name, std::size_t size);

  std::size_t size() const;

  /// Enlarges the file; a smaller size than the present one is std::invalid_argument.
  void grow(std::size_t size);

  /// From now on nobody can shrink the file, so that no mapping of it raises SIGBUS.
  void seal_shrink();
  /// From now on nobody can change the size.
  void seal_size();

  /// A descriptor through which the file can be read and mapped, but neither written nor mapped writable. It protects
  /// against accidents, not against an attacker with the same user id. Needs /proc.
  Descriptor read_only_descriptor() const;

  bool valid() const { return descriptor_.valid(); }
  int descriptor() const { return descriptor_.get(); }
  Descriptor release() { return static_cast<Descriptor&&>(descriptor_); }

 private:
  Descriptor descriptor_;
};

/// Whether it is memory that nobody can shrink any more: what came from another process must be, to be mapped safely.
bool cannot_shrink(int descriptor) noexcept;

/// A shared mapping of the first bytes of a file, unmapped by the destructor. Move-only.
class Mapping {
 public:
  enum class Access { read, read_write };
  /// `drop`: children forked later do not have the mapping (MADV_DONTFORK).
  enum class OnFork { keep, drop };

  Mapping() = default;
  /// The descriptor may be closed afterwards. Throws std::system_error.
  Mapping(int descriptor, std::size_t size, Access access = Access::read_write, OnFork on_fork = OnFork::drop);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  /// Changes the size, normally after the file grew. The address may change. The access and fork mode stay.
  void resize(std::size_t size);

  /// Gives the memory of the whole pages inside this range back to the system, for everyone; they read as zero then.
  void discard(std::size_t offset, std::size_t length);

  std::span<std::byte> bytes() const { return {data_, size_}; }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace cofork::ipc
