// Mutex: one coroutine at a time.
#pragma once

#include <cofork/runtime/guard.hpp>

namespace cofork {

/// Mutual exclusion among the coroutines of one loop, also across their suspensions (`asyncio.Lock`). Not recursive,
/// and not for threads or processes: `ipc::Lock`. It must outlive its guards and those who wait for it; if it is
/// destroyed before, they are left to their cancellation.
class Mutex {
 public:
  Mutex() noexcept = default;

  /// `Guard guard = co_await mutex.lock();` Those who wait get it in the order in which they came. Cancelling ends the
  /// wait at once; a lock that was already handed over is delivered.
  detail::AcquireAwaiter lock() noexcept { return {permits_, "a mutex"}; }

  /// Takes it if it is free; then `unlock()` gives it back.
  [[nodiscard]] bool try_lock() noexcept { return permits_.try_take(); }

  /// After `try_lock()`. `std::logic_error` if it is not locked.
  void unlock();

  bool locked() const noexcept { return !permits_.available(); }

 private:
  detail::Permits permits_{1, 1};
};

}  // namespace cofork
