// SharedMemory: bytes that processes share.
#pragma once

#include <cofork/ipc/memory_state.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cofork::ipc {

/// A block of memory that processes share (`multiprocessing.shared_memory.SharedMemory`), anonymous or with a name by
/// which unrelated processes find it. A handle: copies are the same block, and it travels to other processes as a
/// descriptor, with a name or without. The memory lives as long as a process uses it.
///
/// Errors of the system are std::system_error.
class SharedMemory : public detail::StateHandle<detail::MemoryState> {
 public:
  explicit SharedMemory(detail::IntrusivePtr<detail::MemoryState> state) : StateHandle(std::move(state)) {}

  /// Anonymous and zero. `std::invalid_argument` for 0 bytes.
  static SharedMemory create(std::size_t size);
  /// The same with a name, that of a file in /dev/shm. EEXIST if it is taken. The name goes with the last handle in
  /// this process, the creator, unless the process is killed; not with those of its children.
  static SharedMemory create(std::string_view name, std::size_t size);
  /// What another process has created. ENOENT if there is none of that name.
  static SharedMemory attach(std::string_view name);

  /// In bytes.
  std::size_t size() const { return state().size(); }
  /// The bytes, which live as long as a handle in this process.
  std::span<std::byte> span() { return {state().data(), state().size()}; }
  std::span<const std::byte> span() const { return {state().data(), state().size()}; }
  /// Empty if it is anonymous.
  const std::string& name() const { return state().file_name(); }

  /// Gives up this handle. Any use of it after that is `std::logic_error`; closing twice is nothing.
  void close() noexcept { reset(); }
  /// Takes the name away: nobody can attach any more, and those who have it keep it. ENOENT if it is gone already;
  /// `std::logic_error` without a name.
  void unlink() { state().unlink(); }
};

}  // namespace cofork::ipc
