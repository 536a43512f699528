// RLock: a lock that its owner may acquire again.
#pragma once

#include <atomic>
#include <chrono>
#include <cofork/ipc/lock_guard.hpp>
#include <cofork/ipc/lock_word.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <optional>

namespace cofork::detail {

class RLockState final : public GuardedState {
 public:
  static constexpr const char* name = "recursive lock";

  RLockState();
  explicit RLockState(ipc::Reader& reader);
  ~RLockState() override { leave(); }

  std::optional<Taken> try_take(const Context* context) override;
  bool give_back(std::uint64_t ticket) noexcept override;
  void release();

 private:
  struct Memory {
    LockWord lock;
  };
  void member_gone(std::uint32_t place) noexcept override { word().member_gone(place); }
  LockWord& word() const noexcept { return state<Memory>().lock; }

  // Of this process's acquisition, valid while the word is `ticket_`.
  std::atomic<std::uint64_t> ticket_{0};
  std::atomic<std::uint64_t> thread_{0};
  std::atomic<std::uint64_t> line_{0};  // of a coroutine; 0 if a thread acquired it
  std::atomic<std::uint32_t> depth_{0};
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// A recursive lock between processes (`multiprocessing.RLock`). Its owner is a thread of a process, or, where it was
/// acquired by `co_await`, a line of coroutines that await one another (what one `spawn` or one branch started): each
/// may acquire it again, and it is free when all guards are gone. For the rest it is as `Lock`.
class RLock : public detail::StateHandle<detail::RLockState> {
 public:
  RLock();
  explicit RLock(detail::IntrusivePtr<detail::RLockState> state) : StateHandle(std::move(state)) {}

  /// Cancelling ends the wait at once; a lock that was taken is delivered.
  Task<LockGuard> acquire() const { return detail::acquire_guard(shared_state()); }
  /// The same without a loop, for plain threads; `std::logic_error` on a running loop's thread.
  LockGuard blocking_acquire() const;
  /// Nothing if it is not free within `timeout`; a negative one counts as 0.
  std::optional<LockGuard> blocking_acquire(std::chrono::nanoseconds timeout) const;
  /// Takes it for this thread, without a guard, if that is possible now; a coroutine that acquired it by `co_await`
  /// does so again in the same way.
  bool try_acquire() const { return detail::try_take_now(state()).has_value(); }

  /// Undoes one acquisition. `std::logic_error` unless it was acquired in this thread.
  void release() const { state().release(); }
};

}  // namespace cofork::ipc
