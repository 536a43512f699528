// Where an object of a user's class lies and how large it is, told by its base class.
#pragma once

#include <cstddef>
#include <new>

namespace cofork::detail {

/// Base of classes that users derive from, and that must know the members of the derived class without being told.
///
/// Only the compiler knows the size of the most derived class, and it says it in one place: the deleting destructor
/// hands it to `operator delete`. A *destroying* operator delete gets it before anything is destroyed, so that a
/// `delete this` that comes from `memory()` can note the size and leave the object as it is, wherever it lies. Any
/// other delete does what it always does.
///
/// A derived class must not declare an operator delete of its own (the program ends with a message if it does and is
/// asked). With g++ 12 it cannot have this base as a virtual one.
class KnowsItsMemory {
 public:
  virtual ~KnowsItsMemory();

  // Not inline: g++ would warn that they do not match.
  static void* operator new(std::size_t size);
  static void* operator new(std::size_t size, std::align_val_t alignment);
  static void* operator new(std::size_t, void* place) noexcept { return place; }
  // For constructors that throw.
  static void operator delete(void* memory, std::size_t size) noexcept;
  static void operator delete(void* memory, std::size_t size, std::align_val_t alignment) noexcept;
  static void operator delete(void*, void*) noexcept {}
  // For everything else.
  static void operator delete(KnowsItsMemory* object, std::destroying_delete_t, std::size_t size);
  static void operator delete(KnowsItsMemory* object, std::destroying_delete_t, std::size_t size,
                              std::align_val_t alignment);

 protected:
  KnowsItsMemory() = default;
  KnowsItsMemory(const KnowsItsMemory&) = default;
  KnowsItsMemory& operator=(const KnowsItsMemory&) = default;

  struct Extent {
    const void* address;
    std::size_t size;
  };
  /// Of the most derived object. Not in a constructor or destructor.
  Extent memory();
};

}  // namespace cofork::detail
