// The tree that cancellation travels down, and the node by which a suspended coroutine hangs in it.
#pragma once

#include <cofork/runtime/intrusive_list.hpp>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <type_traits>

namespace cofork::detail {

class Context;

/// A suspended coroutine, as an intrusive node inside its awaiter. It is in at most one list: that of what it waits
/// for, or the loop's ready queue. Destroying it (with the coroutine's frame) takes it out of everything.
class Waiter : public Link<Waiter> {
 public:
  /// Called when the coroutine is cancelled while it is suspended here. Either the operation is over at once, and the
  /// function says so by `resume_cancelled()`; or it will end later, and whoever ends it resumes the waiter as usual.
  using OnCancel = void (*)(Waiter&) noexcept;

  Waiter() = default;
  ~Waiter() { forget_context(); }

  /// Makes `handle` the one to resume, with the name of what it waits for (a literal, for `dump_tasks`). The context is
  /// told, so that a cancellation finds this waiter.
  void suspend(std::coroutine_handle<> handle, Context* context, const char* what, OnCancel on_cancel) noexcept;

  /// It has what it waited for: leaves its list and goes to the end of the ready queue. From here on a cancellation no
  /// longer concerns it.
  void resume_later() noexcept;

  /// It has what it waited for, and goes on at once: only from a callback of the loop. May destroy this.
  void resume_now() {
    forget_context();
    unlink();
    handle_.resume();
  }

  /// As `resume_later`, and `cancelled()` is true from now on.
  void resume_cancelled() noexcept {
    cancelled_ = true;
    resume_later();
  }

  bool cancelled() const noexcept { return cancelled_; }
  bool suspended() const noexcept { return context_ != nullptr || linked(); }
  const char* what() const noexcept { return what_; }
  std::coroutine_handle<> handle() const noexcept { return handle_; }

 private:
  friend class Context;
  void forget_context() noexcept;

  std::coroutine_handle<> handle_;
  Context* context_ = nullptr;
  OnCancel on_cancel_ = nullptr;
  const char* what_ = nullptr;
  bool cancelled_ = false;
};

/// One line of execution: what `run`, `spawn` or a branch of a combinator started. The coroutines in it await one
/// another, so at most one of them is suspended on something outside of it. Cancelling a context cancels everything
/// below it, for good (level-triggered): whatever would suspend in it from then on throws `CancelledError` instead.
class Context : public Link<Context> {
 public:
  explicit Context(const char* name) noexcept : name_(name) {}
  ~Context();

  /// Becomes a child of `parent`, which may be null; cancelled if the parent is.
  void attach(Context* parent) noexcept;
  /// Leaves its parent: its work has ended.
  void detach() noexcept {
    unlink();
    parent_ = nullptr;
  }

  void cancel() noexcept;
  bool cancelled() const noexcept { return cancelled_; }

  /// For the root of a loop that is used again: all that was below it has ended.
  void renew() noexcept {
    cancelled_ = false;
    number_ = 0;
    stop_source_.reset();
  }

  std::stop_token stop_token();

  /// No other context of this process ever has it: one that is made later may have the same address. Never 0.
  std::uint64_t number() const noexcept;
  const char* name() const noexcept { return name_; }
  void set_name(const char* name) noexcept { name_ = name; }
  const Waiter* suspended() const noexcept { return suspended_; }
  List<Context>& children() noexcept { return children_; }

 private:
  friend class Waiter;
  const char* name_;
  Context* parent_ = nullptr;
  Waiter* suspended_ = nullptr;
  List<Context> children_;
  std::unique_ptr<std::stop_source> stop_source_;
  std::uint64_t cancelled_ : 1 = false;
  mutable std::uint64_t number_ : 63 = 0;  // from when it is asked for
};

inline void Waiter::suspend(std::coroutine_handle<> handle, Context* context, const char* what,
                            OnCancel on_cancel) noexcept {
  handle_ = handle;
  what_ = what;
  on_cancel_ = on_cancel;
  context_ = context;
  if (context) context->suspended_ = this;
}

inline void Waiter::forget_context() noexcept {
  if (!context_) return;
  if (context_->suspended_ == this) context_->suspended_ = nullptr;
  context_ = nullptr;
}

/// The part of every promise of the library that an awaiter needs of the coroutine that awaits it.
struct ContextHolder {
  Context* context = nullptr;
};

/// The context of the coroutine `handle`; null for a coroutine type that is not the library's, which cannot be
/// cancelled.
template <class Promise>
Context* context_of(std::coroutine_handle<Promise> handle) noexcept {
  if constexpr (std::is_base_of_v<ContextHolder, Promise>)
    return handle.promise().context;
  else
    return nullptr;
}

}  // namespace cofork::detail
