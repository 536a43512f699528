#include <cofork/executors/process_target.hpp>
#include <cstring>

namespace cofork::detail {

void* ProcessTarget::operator new(std::size_t size) { return std::memset(::operator new(size), 0, size); }
void* ProcessTarget::operator new(std::size_t size, std::align_val_t alignment) {
  return std::memset(::operator new(size, alignment), 0, size);
}
void ProcessTarget::operator delete(void* memory, std::size_t size) noexcept { ::operator delete(memory, size); }
void ProcessTarget::operator delete(void* memory, std::size_t size, std::align_val_t alignment) noexcept {
  ::operator delete(memory, size, alignment);
}

void add_handles_of(const ProcessTarget& target, FoundHandles& handles) {
  handles.add(handles_within(target.address(), target.size()));
  if (!handles_elsewhere(handles)) return;
  handles.add(handles_in_vectors_at(target.address(), target.size()));
  const HandleCollector collector;
  target.copy_arguments();
  collector.add_to(handles);
}

}  // namespace cofork::detail
