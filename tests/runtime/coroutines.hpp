// What the tests of the runtime share.
#pragma once

#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/task_runner.hpp>
#include <memory>
#include <utility>

namespace support {

/// Counts itself, and holds memory so that a sanitizer sees a second destruction.
class Counted {
 public:
  explicit Counted(int initial = 0) : value(initial) { ++constructed; }
  Counted(const Counted& other) : value(other.value) { ++constructed; }
  Counted(Counted&& other) noexcept : value(std::exchange(other.value, -1)), memory_(std::move(other.memory_)) {
    ++constructed;
  }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { ++destroyed; }

  static void reset() { constructed = destroyed = 0; }
  static int alive() { return constructed - destroyed; }

  static inline int constructed = 0;
  static inline int destroyed = 0;
  int value;

 private:
  std::unique_ptr<int> memory_ = std::make_unique<int>(0);
};

/// Lets everything that is ready run `count` times.
inline cofork::Task<> turns(int count) {
  for (int turn = 0; turn < count; ++turn) co_await cofork::yield_now();
}

/// Whether awaiting `awaitable` throws an `E`.
template <class E, class A>
cofork::Task<bool> throws(A awaitable) {
  try {
    (void)co_await std::move(awaitable);
  } catch (const E&) {
    co_return true;
  }
  co_return false;
}

/// A task that is started at once, outside of the tree, and that can be destroyed where it waits.
class Started : private cofork::detail::TaskRunner<void> {
 public:
  explicit Started(cofork::Task<> task) : TaskRunner(std::move(task), "started by a test", &Started::note_end) {
    start(nullptr);
  }
  void destroy() { abandon(); }
  void cancel() { context().cancel(); }
  bool ended() const { return ended_; }

 private:
  static void note_end(TaskRunner& runner) {
    auto& self = static_cast<Started&>(runner);
    self.ended_ = true;
    self.free_frame();
  }
  bool ended_ = false;
};

}  // namespace support
