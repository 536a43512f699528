// A piece of shared memory as a handle's state: what SharedMemory, SharedArray and the raw values share.
#pragma once

#include <atomic>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>
#include <cofork/runtime/handle.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cofork::detail {

class MemoryState : public HandleState {
 public:
  static constexpr const char* name = "shared memory";

  /// Anonymous, and zero.
  explicit MemoryState(std::size_t size);
  /// Makes what has that name.
  MemoryState(std::string_view file_name, std::size_t size);
  /// Finds what has that name.
  explicit MemoryState(std::string_view file_name);
  explicit MemoryState(ipc::Reader& reader);
  ~MemoryState() override;

  std::byte* data() const noexcept { return mapping_.data(); }
  std::size_t size() const noexcept { return mapping_.size(); }
  /// Empty if it is anonymous.
  const std::string& file_name() const noexcept { return file_name_; }
  /// The name, for good.
  void unlink();

  void encode(ipc::Writer& writer) const;

  void list_descriptors(std::vector<int>& to) const override;
  void after_fork_in_child(bool given) noexcept override;

 private:
  void map(std::size_t size);

  ipc::MemoryFile file_;
  ipc::Mapping mapping_;
  std::string file_name_;
  std::atomic<bool> is_creator_ = false;
  unsigned generation_ = fork_generation();
};

}  // namespace cofork::detail
