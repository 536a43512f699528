// Task<T>: a lazy coroutine.
#pragma once

#include <cofork/runtime/awaitable.hpp>
#include <cofork/runtime/context.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/frame_allocator.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/outcome.hpp>
#include <concepts>
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

namespace cofork {

template <class T = void>
class Task;

namespace detail {

template <class T>
class TaskAwaiter;
template <class T>
class ForeignTaskAwaiter;
template <class T>
class TaskRunner;

/// What the promises of all the library's coroutines have in common.
class PromiseBase : public ContextHolder {
 public:
  /// Who is resumed at the end; null while the awaiter is still starting the coroutine on its own stack, and looks
  /// itself.
  std::coroutine_handle<> continuation;

  static void* operator new(std::size_t size) { return FrameAllocator::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { FrameAllocator::deallocate(memory, size); }

  /// Resumes the continuation as the last act of a coroutine.
  void resume_continuation() noexcept {
    if (continuation) resume_next(continuation);
  }

  template <class T>
  TaskAwaiter<T> await_transform(Task<T>&& task) noexcept {
    return TaskAwaiter<T>(std::move(task), context);
  }
  template <class T>
  void await_transform(Task<T>&) = delete;  // co_await std::move(task): a task is awaited once
  template <class A>
  decltype(auto) await_transform(A&& awaitable) noexcept {
    if constexpr (MemberCoAwait<A> || FreeCoAwait<A>)
      return static_cast<A&&>(awaitable);
    else
      return AwaiterReference<A>{static_cast<A&&>(awaitable)};
  }
};

struct FinalAwaiter {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
    handle.promise().resume_continuation();
  }
  void await_resume() const noexcept {}
};

template <class T>
class TaskPromiseBase : public PromiseBase {
 public:
  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { outcome.set_error(std::current_exception()); }

  Outcome<T> outcome;
};

template <class T>
class TaskPromise : public TaskPromiseBase<T> {
 public:
  Task<T> get_return_object() noexcept;
  template <class U = T>
  requires std::is_convertible_v<U&&, T>
  void return_value(U&& value) { this->outcome.set_value(std::forward<U>(value)); }
};

template <>
class TaskPromise<void> : public TaskPromiseBase<void> {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() noexcept { outcome.set_value(); }
};

[[noreturn]] inline void throw_no_task() { throw InvalidStateError("this task was awaited before, or moved from"); }

/// Owns a coroutine's frame.
template <class Promise>
class FrameOwner {
 public:
  FrameOwner() = default;
  explicit FrameOwner(std::coroutine_handle<Promise> handle) noexcept : handle_(handle) {}
  FrameOwner(FrameOwner&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  FrameOwner& operator=(FrameOwner&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~FrameOwner() { reset(); }

  void reset() noexcept {
    if (const std::coroutine_handle<Promise> handle = std::exchange(handle_, {})) handle.destroy();
  }
  explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
  std::coroutine_handle<Promise> handle() const noexcept { return handle_; }
  Promise& promise() const noexcept { return handle_.promise(); }

 private:
  std::coroutine_handle<Promise> handle_;
};

}  // namespace detail

/// A coroutine that gives a `T`, or an exception. It starts when it is awaited, in the context of the coroutine that
/// awaits it, and its result moves out to there: `T value = co_await std::move(task)`, or `co_await function()`. It is
/// awaited once, `InvalidStateError` the second time. Destroying a task that never started frees its arguments;
/// cancelling the awaiter cancels it.
template <class T>
class [[nodiscard("a task does nothing until it is awaited: co_await it")]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using value_type = T;

  Task(Task &&) noexcept = default;
  Task& operator=(Task&&) noexcept = default;

  detail::ForeignTaskAwaiter<T> operator co_await()&& noexcept;

 private:
  friend class detail::TaskPromise<T>;
  friend class detail::TaskAwaiter<T>;
  template <class>
  friend class detail::TaskRunner;
  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : frame_(handle) {}

  detail::FrameOwner<promise_type> frame_;
};

namespace detail {

/// A task, or one of the awaitables that functions give instead of the task that they promise.
template <class A>
concept BecomesTask = std::convertible_to<A, Task<await_result_t<A>>>;

template <class T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

/// Starts the task on the awaiter's own stack: what ends without waiting costs a call, and a loop of such awaits needs
/// no tail call to run in constant space.
template <class T>
class [[nodiscard]] TaskAwaiter {
 public:
  TaskAwaiter(Task<T>&& task, Context* context) noexcept : frame_(std::move(task.frame_)), context_(context) {}
  TaskAwaiter(TaskAwaiter&&) = delete;
  ~TaskAwaiter() {
    if (!suspended_ || !current_loop) return;
    current_loop->forget(frame_.handle());
    current_loop->forget(frame_.promise().continuation);
  }

  bool await_ready() { return start(context_); }

  void await_suspend(std::coroutine_handle<> handle) noexcept {
    frame_.promise().continuation = handle;
    suspended_ = true;
  }

  T await_resume() {
    suspended_ = false;
    return frame_.promise().outcome.take();
  }

 protected:
  /// Whether it has ended.
  bool start(Context* context) {
    if (!frame_) [[unlikely]]
      throw_no_task();
    frame_.promise().context = context;
    if (stack_is_deep()) [[unlikely]] {
      current_loop->defer(frame_.handle());
      return false;
    }
    frame_.handle().resume();
    return frame_.handle().done();
  }

 private:
  FrameOwner<TaskPromise<T>> frame_;
  // Between the two pointers: g++ 12 would load them as one right after it stored them one by one, which costs 8 ns.
  bool suspended_ = false;  // then the loop may hold the handle of either coroutine
  Context* context_;
};

/// Where `await_transform` of the library's coroutines has no part in it: only the handle tells the context.
template <class T>
class [[nodiscard]] ForeignTaskAwaiter : public TaskAwaiter<T> {
 public:
  explicit ForeignTaskAwaiter(Task<T>&& task) noexcept : TaskAwaiter<T>(std::move(task), nullptr) {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    if (this->start(context_of(handle))) return false;
    TaskAwaiter<T>::await_suspend(handle);
    return true;
  }
};

}  // namespace detail

template <class T>
detail::ForeignTaskAwaiter<T> Task<T>::operator co_await() && noexcept {
  return detail::ForeignTaskAwaiter<T>(std::move(*this));
}

}  // namespace cofork
