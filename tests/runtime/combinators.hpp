// What the tests of the combinators share.
#pragma once

#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/future.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/task.hpp>
#include <coroutine>
#include <stdexcept>
#include <string>
#include <utility>

namespace support {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr std::chrono::hours long_time{1};

template <class T>
cofork::Task<T> value(T given) {
  co_return given;
}

inline cofork::Task<int> value_after(int given, int turns) {
  for (int turn = 0; turn < turns; ++turn) co_await cofork::yield_now();
  co_return given;
}

inline cofork::Task<int> failure_after(std::string what, int turns) {
  for (int turn = 0; turn < turns; ++turn) co_await cofork::yield_now();
  throw Failure(what);
}

/// What became of a task that waits for a long time.
struct Life {
  bool started = false;
  bool cancelled = false;
  bool ended = false;
};

/// Waits for long; cancelled, it takes `turns_to_end` turns to end.
inline cofork::Task<int> sleeper(Life& life, int turns_to_end = 0) {
  life.started = true;
  try {
    co_await cofork::sleep(long_time);
  } catch (const cofork::CancelledError&) {
    life.cancelled = true;
  }
  // The context stays cancelled, so this waits as code does that knows nothing of cancellation.
  struct Turn {
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) const { cofork::Loop::current().defer(handle); }
    void await_resume() const {}
  };
  for (int turn = 0; turn < turns_to_end; ++turn) co_await Turn();
  life.ended = true;
  throw cofork::CancelledError();
}

/// Gives a value, or throws a `Failure`, when it is cancelled.
inline cofork::Task<int> stubborn(int given) {
  try {
    co_await cofork::sleep(long_time);
  } catch (const cofork::CancelledError&) {
  }
  co_return given;
}
inline cofork::Task<int> spiteful(std::string what) {
  try {
    co_await cofork::sleep(long_time);
  } catch (const cofork::CancelledError&) {
  }
  throw Failure(what);
}

inline cofork::Stream<int> count_to(int last) {
  for (int i = 1; i <= last; ++i) {
    co_await cofork::yield_now();
    co_yield i;
  }
}

/// An awaiter that is not the library's, which knows nothing of cancellation.
class ForeignAwaiter {
 public:
  explicit ForeignAwaiter(int given) : given_(given) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { cofork::Loop::current().defer(handle); }
  int await_resume() { return given_; }

 protected:
  int given_;
};

/// One that gives a reference into itself.
class ReferenceAwaiter : public ForeignAwaiter {
 public:
  using ForeignAwaiter::ForeignAwaiter;
  int& await_resume() { return given_; }
};

struct WithMemberOperator {
  int given;
  ForeignAwaiter operator co_await() const { return ForeignAwaiter(given); }
};

struct WithFreeOperator {
  int given;
};
inline ForeignAwaiter operator co_await(const WithFreeOperator& awaitable) { return ForeignAwaiter(awaitable.given); }

/// Why `awaitable` fails: the message of its exception, or "nothing".
template <class A>
cofork::Task<std::string> error_of(A awaitable) {
  try {
    (void)co_await std::move(awaitable);
  } catch (const std::exception& error) {
    co_return error.what();
  }
  co_return "nothing";
}

}  // namespace support
