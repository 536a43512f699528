#include <cofork/executors/process_memory.hpp>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace cofork::detail {

namespace {
// Where `memory()` on this thread wants the size.
thread_local std::size_t* asked_size = nullptr;
}  // namespace

KnowsItsMemory::~KnowsItsMemory() {
  if (!asked_size) return;
  std::fputs("cofork: a class derived from cofork::Process must not have an operator delete of its own\n", stderr);
  std::abort();
}

KnowsItsMemory::Extent KnowsItsMemory::memory() {
  std::size_t size = 0;
  const void* const address = dynamic_cast<const void*>(this);
  asked_size = &size;
  delete this;
  asked_size = nullptr;
  return {address, size};
}

void* KnowsItsMemory::operator new(std::size_t size) { return ::operator new(size); }
void* KnowsItsMemory::operator new(std::size_t size, std::align_val_t alignment) {
  return ::operator new(size, alignment);
}
void KnowsItsMemory::operator delete(void* memory, std::size_t size) noexcept { ::operator delete(memory, size); }
void KnowsItsMemory::operator delete(void* memory, std::size_t size, std::align_val_t alignment) noexcept {
  ::operator delete(memory, size, alignment);
}

void KnowsItsMemory::operator delete(KnowsItsMemory* object, std::destroying_delete_t, std::size_t size) {
  if (asked_size) {
    *asked_size = size;
    return;
  }
  void* const memory = dynamic_cast<void*>(object);
  object->~KnowsItsMemory();
  ::operator delete(memory, size);
}

void KnowsItsMemory::operator delete(KnowsItsMemory* object, std::destroying_delete_t, std::size_t size,
                                     std::align_val_t alignment) {
  if (asked_size) {
    *asked_size = size;
    return;
  }
  void* const memory = dynamic_cast<void*>(object);
  object->~KnowsItsMemory();
  ::operator delete(memory, size, alignment);
}

}  // namespace cofork::detail
