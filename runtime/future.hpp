// Future<T>: work that is already under way, and Promise<T>, for work of your own.
#pragma once

#include <cofork/runtime/context.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/origin.hpp>
#include <cofork/runtime/outcome.hpp>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace cofork {

template <class T>
class Future;

namespace detail {

/// What a future and the work behind it share; reference-counted by one thread. The work is a derived class.
class FutureStateBase : public RefCounted {
 public:
  enum class Status : unsigned char { pending, running, cancelled, finished };

  bool done() const noexcept { return status_ >= Status::cancelled; }
  bool cancelled() const noexcept { return status_ == Status::cancelled; }

  /// `Future::cancel`, `kill`, `running`, `usage`; as a promise does them, unless the work knows better.
  virtual bool cancel();
  virtual bool kill() { return cancel(); }
  virtual bool running() const { return status_ == Status::running; }
  virtual std::optional<TaskUsage> usage() const { return std::nullopt; }

  /// A coroutine that awaited this was cancelled. True if the work will end (or has), and then resumes it; false if it
  /// cannot be stopped and is not worth waiting for.
  virtual bool stop_for_awaiter() { return kill() || done(); }

  /// Someone needs this result now; until then it may come together with others.
  virtual void wanted() {}

  void check_done() const;
  void rethrow_error() const;
  std::exception_ptr exception() const;

  /// `std::logic_error` in a child that was forked since this was made; whoever waits, or stops the work, asks first.
  void check_origin() const { origin_.check("future"); }

  void add_waiter(Waiter& waiter) { waiters_.push_back(waiter); }
  bool has_listeners() const noexcept { return !waiters_.empty() || !callbacks_.empty(); }
  void add_callback(std::function<void()> callback);

  /// The work has ended: callbacks run at once, in order; waiters in the next turn. May destroy this if nobody else
  /// refers to it.
  void finish(Status status) noexcept;
  void finish_error(std::exception_ptr error) noexcept;
  void finish_cancelled() noexcept { finish(Status::cancelled); }

 protected:
  Status status_ = Status::pending;

 private:
  Origin origin_;
  static void call(std::function<void()>& callback) noexcept;

  std::exception_ptr error_;
  List<Waiter> waiters_;
  std::vector<std::function<void()>> callbacks_;
};

template <class T>
class FutureState : public FutureStateBase {
 public:
  Stored<T>& value() noexcept { return *value_; }

  template <class... A>
  void finish_value(A&&... arguments) {
    value_.emplace(std::forward<A>(arguments)...);
    finish(Status::finished);
  }

 private:
  std::optional<Stored<T>> value_;
};

struct FutureAccess {
  template <class T>
  static Future<T> make(IntrusivePtr<FutureState<T>> state) noexcept {
    return Future<T>(std::move(state));
  }
  template <class T>
  static FutureState<T>& state(const Future<T>& future) {
    return future.state();
  }
};

/// Waits for a future. Cancelling it stops the work and waits for that, if `stop_work`; else it leaves the work alone.
template <class T, bool consume, bool stop_work = true>
class FutureAwaiter {
 public:
  explicit FutureAwaiter(IntrusivePtr<FutureState<T>> state) noexcept : state_(std::move(state)) {}
  FutureAwaiter(FutureAwaiter&&) = delete;
  ~FutureAwaiter() {
    // The awaiting coroutine was destroyed where it was suspended.
    if (stop_work && waiter_.suspended() && !state_->done()) state_->stop_for_awaiter();
  }

  bool await_ready() const noexcept { return state_->done(); }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    state_->check_origin();
    Context* context = context_of(handle);
    if (context && context->cancelled()) {
      if (!stop_work || !state_->stop_for_awaiter()) {
        interrupted_ = true;
        return false;
      }
      if (state_->done()) return false;
    }
    waiter_.suspend(handle, context, "a future", &FutureAwaiter::on_cancel);
    waiter_.self = this;
    state_->add_waiter(waiter_);
    state_->wanted();
    return true;
  }

  using Result = std::conditional_t<consume, T, std::add_lvalue_reference_t<T>>;
  Result await_resume() {
    if (interrupted_ || waiter_.cancelled()) throw CancelledError();
    state_->rethrow_error();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*state_->value());
    else if constexpr (!std::is_void_v<T> && consume)
      return std::move(state_->value());
    else if constexpr (!std::is_void_v<T>)
      return state_->value();
  }

 private:
  struct OwnWaiter : Waiter {
    FutureAwaiter* self = nullptr;
  };
  static void on_cancel(Waiter& waiter) noexcept {
    auto& self = *static_cast<OwnWaiter&>(waiter).self;
    if (!stop_work || !self.state_->stop_for_awaiter()) waiter.resume_cancelled();
  }

  IntrusivePtr<FutureState<T>> state_;
  OwnWaiter waiter_;
  bool interrupted_ = false;
};

}  // namespace detail

/// A handle on work that is already under way, wherever it runs: a spawned coroutine, a task in a worker process, a
/// thread. `concurrent.futures.Future` and `asyncio.Task` in one. Move-only; dropping it detaches the work, which goes
/// on. A moved-from future may only be destroyed or assigned to.
///
/// `co_await future` gives a `T&` into the future, again and again and for several awaiters; `co_await
/// std::move(future)` gives the value. Cancelling a coroutine that awaits a future stops the work, running or not, and
/// the coroutine goes on when that has ended; `shield` is how to avoid it. A value that arrived before that is
/// delivered.
///
/// A forked child can read its copy of a future that is done; to await another, to stop its work, or to add a callback
/// is `std::logic_error` there.
template <class T>
class Future {
 public:
  using value_type = T;

  Future(Future&&) noexcept = default;
  Future& operator=(Future&&) noexcept = default;

  /// Cancels the work unless it is done or a worker already executes it; then false. True again for a cancelled one.
  bool cancel() { return state_to_stop().cancel(); }
  /// Cancels it even when a worker executes it: the worker is killed and replaced, unless the task is a coroutine that
  /// ends when it is cancelled. True unless the work was done.
  bool kill() { return state_to_stop().kill(); }

  bool cancelled() const { return state().cancelled(); }
  bool running() const { return !state().done() && state().running(); }
  bool done() const { return state().done(); }

  /// The value. `InvalidStateError` unless done; `CancelledError` if cancelled; rethrows the work's exception.
  std::add_lvalue_reference_t<T> result() {
    state().check_done();
    state().rethrow_error();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*state().value());
    else if constexpr (!std::is_void_v<T>)
      return state().value();
  }
  /// The work's exception, null if it gave a value. `InvalidStateError` unless done; `CancelledError` if cancelled.
  std::exception_ptr exception() const { return state().exception(); }

  /// Calls `callback` with this future when it is done, after those added before, or now if it is done. One that throws
  /// is reported on stderr and the next still runs.
  void add_done_callback(std::function<void(Future<T>&)> callback) {
    // The callback lives in the state, so it holds no reference to it: the future is made anew for the call.
    detail::FutureState<T>* state = state_.get();
    this->state().add_callback([state, callback = std::move(callback)] {
      Future<T> future(detail::IntrusivePtr<detail::FutureState<T>>{state});
      callback(future);
    });
  }

  /// What running the task took, for work that was done in a worker process.
  std::optional<TaskUsage> usage() const { return state().usage(); }

  detail::FutureAwaiter<T, false> operator co_await() & { return detail::FutureAwaiter<T, false>(shared()); }
  detail::FutureAwaiter<T, true> operator co_await() && {
    return detail::FutureAwaiter<T, true>(std::move(*this).shared());
  }

 private:
  friend struct detail::FutureAccess;
  explicit Future(detail::IntrusivePtr<detail::FutureState<T>> state) noexcept : state_(std::move(state)) {}

  detail::FutureState<T>& state() const {
    if (!state_) throw InvalidStateError("this future was moved from");
    return *state_;
  }
  detail::FutureState<T>& state_to_stop() const {
    if (!state().done()) state().check_origin();
    return state();
  }
  detail::IntrusivePtr<detail::FutureState<T>> shared() & {
    state();
    return state_;
  }
  detail::IntrusivePtr<detail::FutureState<T>> shared() && {
    state();
    return std::move(state_);
  }

  detail::IntrusivePtr<detail::FutureState<T>> state_;
};

namespace detail {
template <class T>
class PromiseState final : public FutureState<T> {
 public:
  using Status = FutureStateBase::Status;
  bool set_running();
  void check_settable() const {
    if (this->done()) throw InvalidStateError("the future is already done");
  }
};
template <class T>
bool PromiseState<T>::set_running() {
  if (this->cancelled()) return false;
  if (this->status_ != Status::pending) throw InvalidStateError("the future is already running or done");
  this->status_ = Status::running;
  return true;
}

template <class T>
class PromiseHandle {
 public:
  PromiseHandle() : state_(make_intrusive<PromiseState<T>>()) {}
  PromiseHandle(PromiseHandle&&) noexcept = default;
  PromiseHandle& operator=(PromiseHandle&& other) noexcept {
    if (this != &other) {
      give_up();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~PromiseHandle() { give_up(); }

  /// A handle on the future of this promise.
  Future<T> future() const {
    state();
    return FutureAccess::make<T>(state_);
  }

  /// The work begins: from now on `cancel()` is refused. False if it was cancelled before, and then nothing is to be
  /// done. `InvalidStateError` the second time.
  bool set_running_or_notify_cancel() { return state().set_running(); }

  /// Ends the future with an exception. `InvalidStateError` if it is done or cancelled.
  void set_exception(std::exception_ptr error) {
    state().check_settable();
    if (!error) throw std::invalid_argument("Promise::set_exception: no exception");
    state().finish_error(std::move(error));
  }

 protected:
  PromiseState<T>& state() const {
    if (!state_) throw InvalidStateError("this promise was moved from");
    return *state_;
  }

 private:
  void give_up() noexcept {
    if (state_ && !state_->done())
      state_->finish_error(std::make_exception_ptr(InvalidStateError("the promise was destroyed without a result")));
  }

  IntrusivePtr<PromiseState<T>> state_;
};
}  // namespace detail

/// The producing side of a future, for work that the library does not run: `concurrent.futures.Future`'s `set_result`,
/// `set_exception` and `set_running_or_notify_cancel`. One thread. A promise that is destroyed without a result ends
/// its future with `InvalidStateError`.
template <class T>
class Promise : public detail::PromiseHandle<T> {
 public:
  /// Ends the future with `value`. `InvalidStateError` if it is done or cancelled.
  void set_result(T value) {
    this->state().check_settable();
    if constexpr (std::is_reference_v<T>)
      this->state().finish_value(std::addressof(value));
    else
      this->state().finish_value(std::move(value));
  }
};

template <>
class Promise<void> : public detail::PromiseHandle<void> {
 public:
  /// Ends the future. `InvalidStateError` if it is done or cancelled.
  void set_result() {
    state().check_settable();
    state().finish_value();
  }
};

}  // namespace cofork
