#include <cofork/ipc/shared_memory.hpp>
#include <stdexcept>

namespace cofork::ipc {

namespace {
void require_size(std::size_t size) {
  if (size == 0) throw std::invalid_argument("SharedMemory::create: the size must be positive");
}
}  // namespace

SharedMemory SharedMemory::create(std::size_t size) {
  require_size(size);
  return SharedMemory(detail::make_intrusive<detail::MemoryState>(size));
}

SharedMemory SharedMemory::create(std::string_view name, std::size_t size) {
  require_size(size);
  return SharedMemory(detail::make_intrusive<detail::MemoryState>(name, size));
}

SharedMemory SharedMemory::attach(std::string_view name) {
  return SharedMemory(detail::make_intrusive<detail::MemoryState>(name));
}

}  // namespace cofork::ipc
