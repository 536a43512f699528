// Semaphore: so many coroutines at a time.
#pragma once

#include <cofork/runtime/guard.hpp>
#include <cstddef>

namespace cofork {

/// A number of permits for the coroutines of one loop (`asyncio.Semaphore`). It must outlive its guards and those who
/// wait for it; if it is destroyed before, they are left to their cancellation.
class Semaphore {
 public:
  /// With `permits` to begin with; 0 is allowed. `std::invalid_argument` for what was a negative number.
  explicit Semaphore(std::size_t permits);

  /// `Guard guard = co_await semaphore.acquire();` takes a permit and gives it back with the guard. Those who wait get
  /// one in the order in which they came. Cancelling ends the wait at once; a permit that was already handed over is
  /// delivered.
  detail::AcquireAwaiter acquire() noexcept { return {permits_, "a semaphore"}; }

  /// Adds a permit, whether one was taken before or not. `std::logic_error` beyond the greatest number there can be.
  void release();

 private:
  detail::Permits permits_;
};

}  // namespace cofork
