// What Pool's _async functions call when their work has ended.
#pragma once

#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/future.hpp>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {
struct NoErrorCallback {
  void operator()(const std::exception_ptr&) const noexcept {}
};
}  // namespace detail

/// The `callback` and `error_callback` of `Pool::apply_async` and its like, passed first:
///
///     auto on_result = [&](std::string& line) { lines.push_back(line); };
///     auto on_error = [&](std::exception_ptr) { ++failures; };
///     pool.apply_async(AsyncCallbacks(on_result, on_error), work, 3);
///
/// One of them is called, once, on the loop's thread when the work has ended: the first with a reference to its value
/// (nothing, for void), the second with its exception, a `CancelledError` if it was cancelled. One that throws is
/// reported on stderr. They are called although the future is dropped; so what they refer to must outlive the pool,
/// whose end calls those that are left.
template <class OnResult, class OnError = detail::NoErrorCallback>
class AsyncCallbacks {
 public:
  explicit AsyncCallbacks(OnResult callback, OnError error_callback = OnError())
      : callback_(std::move(callback)), error_callback_(std::move(error_callback)) {}

  /// For `Pool`: calls them when the future is done.
  template <class R>
  Future<R> attach_to(Future<R> future) && {
    future.add_done_callback([callbacks = std::move(*this)](Future<R>& done) mutable { callbacks.tell(done); });
    return future;
  }

 private:
  template <class R>
  void tell(Future<R>& done) {
    if (done.cancelled())
      std::invoke(error_callback_, std::make_exception_ptr(CancelledError()));
    else if (const std::exception_ptr error = done.exception())
      std::invoke(error_callback_, error);
    else if constexpr (std::is_void_v<R>)
      std::invoke(callback_);
    else
      std::invoke(callback_, done.result());
  }

  OnResult callback_;
  OnError error_callback_;
};

}  // namespace cofork
