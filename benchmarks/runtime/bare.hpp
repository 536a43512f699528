// The least that a coroutine can be: no exceptions, no cancellation, no loop.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <utility>

namespace bench {

/// Frames on a stack of their own: the last one made is the first to go.
class BareFrames {
 public:
  static void* push(std::size_t size) {
    char* const frame = top_;
    if (size > static_cast<std::size_t>(memory_ + sizeof memory_ - frame)) throw std::bad_alloc();
    top_ = frame + (size + alignment - 1) / alignment * alignment;
    return frame;
  }
  static void pop(void* frame) noexcept { top_ = static_cast<char*>(frame); }

 private:
  static constexpr std::size_t alignment = 16;
  alignas(64) static inline char memory_[128 << 20];
  static inline char* top_ = memory_;
};

/// A coroutine that gives an `int`. It runs at once, up to where it first waits.
class [[nodiscard]] Bare {
 public:
  struct promise_type {
    struct Final {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> handle) const noexcept {
        if (const std::coroutine_handle<> next = handle.promise().continuation) next.resume();
      }
      void await_resume() const noexcept {}
    };
    static void* operator new(std::size_t size) { return BareFrames::push(size); }
    static void operator delete(void* frame) noexcept { BareFrames::pop(frame); }
    Bare get_return_object() noexcept { return Bare(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    Final final_suspend() const noexcept { return {}; }
    void return_value(int given) noexcept { value = given; }
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }

    int value = 0;
    std::coroutine_handle<> continuation;
  };

  Bare(Bare&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Bare& operator=(Bare&&) = delete;
  ~Bare() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return handle_.done(); }
  void await_suspend(std::coroutine_handle<> awaiting) const noexcept { handle_.promise().continuation = awaiting; }
  int await_resume() const noexcept { return handle_.promise().value; }

  std::coroutine_handle<> handle() const noexcept { return handle_; }

 private:
  explicit Bare(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace bench
