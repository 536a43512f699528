// Barrier: processes that wait for one another.
#pragma once

#include <atomic>
#include <chrono>
#include <cofork/ipc/monitor.hpp>
#include <cofork/ipc/monitor_handle.hpp>
#include <cofork/ipc/monitor_wait.hpp>
#include <cofork/runtime/task.hpp>
#include <cstdint>
#include <optional>

namespace cofork::detail {

class BarrierState final : public Monitor {
 public:
  static constexpr const char* name = "barrier";

  explicit BarrierState(unsigned parties);
  explicit BarrierState(ipc::Reader& reader);

  /// One call of wait: arrives, departs.
  class Party {
   public:
    explicit Party(IntrusivePtr<BarrierState> barrier) noexcept : barrier_(std::move(barrier)) {}
    Party(const Party&) = delete;
    Party& operator=(const Party&) = delete;
    /// One who leaves before the barrier opens is not counted any more.
    ~Party();

    /// True when this is over: `index()` or a BrokenBarrier.
    bool attempt();
    /// The deadline has passed: breaks the barrier.
    void give_up();
    unsigned index() const;

   private:
    void arrive();
    void depart();

    IntrusivePtr<BarrierState> barrier_;
    enum class Stage : std::uint8_t { before, inside, through, broken } stage_ = Stage::before;
    std::uint32_t round_ = 0;
    unsigned index_ = 0;
  };

  void reset();
  void abort();
  bool broken() const noexcept { return phase().is_broken(); }
  unsigned parties() const noexcept { return counts().parties.load(); }
  unsigned n_waiting();

 private:
  /// Filling: parties arrive. Draining: all have, and those who waited take their indices and leave. Last: so they do,
  /// but the next round is broken already.
  enum class Mode : std::uint32_t { filling, draining, broken, last };
  struct Phase {
    std::uint32_t round;
    Mode mode;
    bool is_draining() const noexcept { return mode == Mode::draining || mode == Mode::last; }
    bool is_broken() const noexcept { return mode == Mode::broken || mode == Mode::last; }
  };
  struct Memory {
    std::atomic<std::uint64_t> phase;
    std::atomic<std::uint64_t> departed;  ///< how many have left in a round, and that round
    std::atomic<std::uint32_t> parties;
  };
  Memory& counts() const noexcept { return state<Memory>(); }
  Phase phase() const noexcept;
  void set_phase(Phase phase) noexcept;
  // Under the lock. Word 0 of a member is how many wait there in a round, and that round; in others it is void.
  unsigned waiting_at(std::uint32_t place, std::uint32_t round) noexcept;
  void set_waiting(std::uint32_t round, unsigned n) noexcept;
  unsigned waiting(std::uint32_t round) noexcept;
  /// The phase, when a round whose last waiter has gone is over.
  Phase settle() noexcept;
  void leave_round(std::uint32_t round) noexcept;
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// A point that a number of parties (processes, threads, coroutines) pass together, again and again
/// (`multiprocessing.Barrier`). A handle: copies are the same barrier.
///
/// One whose process ends while it waits is not counted any more.
class Barrier : public detail::StateHandle<detail::BarrierState> {
 public:
  /// `std::invalid_argument` for 0.
  explicit Barrier(unsigned parties);
  explicit Barrier(detail::IntrusivePtr<detail::BarrierState> state) : StateHandle(std::move(state)) {}

  /// Waits until all parties do; each gets another number from 0 to `parties() - 1`, the last to come the highest.
  /// `BrokenBarrier` if it is broken, or broken or reset meanwhile. Cancelling takes this party out, as if it had not
  /// come.
  Task<unsigned> wait() const;
  /// The same without a loop, for plain threads; `std::logic_error` on a running loop's thread. If the others do not
  /// come within `timeout` (a negative one counts as 0), the barrier is broken, for all.
  unsigned blocking_wait(std::optional<std::chrono::nanoseconds> timeout = std::nullopt) const;

  /// Back to the beginning; those who wait get `BrokenBarrier`.
  void reset() const { state().reset(); }
  /// Breaks it, until `reset()`.
  void abort() const { state().abort(); }
  bool broken() const { return state().broken(); }
  unsigned parties() const { return state().parties(); }
  /// How many wait now.
  unsigned n_waiting() const { return state().n_waiting(); }
};

}  // namespace cofork::ipc
