// The libuv side of a loop: its one timer, the door for other threads, and the loop itself. Not for users.
#pragma once

#include <uv.h>

#include <cofork/runtime/timer_heap.hpp>
#include <functional>
#include <mutex>
#include <vector>

namespace cofork::detail {

/// Throws `std::system_error` for a negative libuv status, named after `operation`.
void check_uv(int status, const char* operation);

class LoopHandles {
 public:
  LoopHandles(uv_loop_t* borrowed, void (*on_timer)(void*), void* argument);
  LoopHandles(const LoopHandles&) = delete;
  LoopHandles& operator=(const LoopHandles&) = delete;
  ~LoopHandles();

  uv_loop_t* loop() noexcept { return loop_; }

  void post(std::function<void()> function);

  /// One turn of libuv, blocking until `deadline` at the latest.
  void turn(bool may_block, const Clock::time_point* deadline);

 private:
  void open_door();
  void drain_door();
  void close();

  uv_loop_t own_;
  uv_loop_t* loop_;
  uv_timer_t timer_;
  Clock::time_point armed_for_ = Clock::time_point::max();
  uv_poll_t door_poll_;
  int door_ = -1;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  void (*on_timer_)(void*);
  void* argument_;
};

}  // namespace cofork::detail
