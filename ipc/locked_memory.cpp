#include <cofork/ipc/locked_memory.hpp>
#include <optional>

namespace cofork::detail {

LockedMemory::LockedMemory(const char* what, std::size_t size) : LockState(what) {
  memory().grow(offset + size);
  mapping_ =
      ipc::Mapping(memory().descriptor(), offset + size, ipc::Mapping::Access::read_write, ipc::Mapping::OnFork::keep);
}

LockedMemory::LockedMemory(const char* what, ipc::Reader& reader) : LockState(reader, what) {
  const auto size = reader.value<std::uint64_t>();
  const std::size_t there = memory().size();
  if (there < offset || size > there - offset) ipc::Reader::fail("shared memory that is not there");
  mapping_ =
      ipc::Mapping(memory().descriptor(), offset + size, ipc::Mapping::Access::read_write, ipc::Mapping::OnFork::keep);
}

void LockedMemory::encode(ipc::Writer& writer) const {
  LockState::encode(writer);
  writer.value(std::uint64_t{size()});
}

ipc::LockGuard lock_shortly(LockState& lock) {
  std::optional<ipc::LockGuard> guard;
  const auto attempt = [&] {
    if (const auto taken = lock.try_take(nullptr)) guard.emplace(IntrusivePtr<GuardedState>(&lock), *taken);
    return guard.has_value();
  };
  blocking_wait_until(lock, attempt, std::nullopt);
  return std::move(*guard);
}

}  // namespace cofork::detail
