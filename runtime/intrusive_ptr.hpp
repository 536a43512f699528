// Shared ownership within one thread: a count inside the object.
#pragma once

#include <cofork/runtime/frame_allocator.hpp>
#include <cstddef>
#include <new>
#include <utility>

namespace cofork::detail {

class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void add_reference() noexcept { ++references_; }
  void drop_reference() noexcept {
    if (--references_ == 0) delete this;
  }

  static void* operator new(std::size_t size) { return FrameAllocator::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { FrameAllocator::deallocate(memory, size); }
  static void* operator new(std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
  static void operator delete(void* memory, std::align_val_t alignment) noexcept {
    ::operator delete(memory, alignment);
  }

 protected:
  virtual ~RefCounted() = default;

 private:
  std::size_t references_ = 0;
};

template <class T>
class IntrusivePtr {
 public:
  IntrusivePtr() = default;
  explicit IntrusivePtr(T* object) noexcept : object_(object) {
    if (object_) object_->add_reference();
  }
  IntrusivePtr(const IntrusivePtr& other) noexcept : IntrusivePtr(other.object_) {}
  IntrusivePtr(IntrusivePtr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
  requires std::is_convertible_v<U*, T*> IntrusivePtr(IntrusivePtr<U> other)
  noexcept : object_(other.release()) {}
  IntrusivePtr& operator=(IntrusivePtr other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~IntrusivePtr() {
    if (object_) object_->drop_reference();
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

  /// Gives up the reference without dropping it.
  [[nodiscard]] T* release() noexcept { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

template <class T, class... A>
IntrusivePtr<T> make_intrusive(A&&... arguments) {
  return IntrusivePtr<T>(new T(std::forward<A>(arguments)...));
}

}  // namespace cofork::detail
