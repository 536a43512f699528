// Event: a flag that processes wait for.
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

class EventState final : public Monitor {
 public:
  static constexpr const char* name = "event";

  EventState();
  explicit EventState(ipc::Reader& reader);

  void set();
  void clear();
  bool is_set() const noexcept { return (now() & is_set_bit) != 0; }
  std::uint64_t now() const noexcept { return state<Memory>().word.load(std::memory_order_seq_cst); }
  /// Whether it is set, or was since it was `before`.
  bool set_since(std::uint64_t before) const noexcept {
    const std::uint64_t word = now();
    return (word & is_set_bit) != 0 || word / 2 != before / 2;
  }

 private:
  static constexpr std::uint64_t is_set_bit = 1;
  struct Memory {
    std::atomic<std::uint64_t> word;  ///< how often it was set, and whether it is
  };
};

}  // namespace cofork::detail

namespace cofork::ipc {

/// A flag, at first false, that processes, threads and coroutines wait for (`multiprocessing.Event`). A handle: copies
/// are the same event.
class Event : public detail::StateHandle<detail::EventState> {
 public:
  Event();
  explicit Event(detail::IntrusivePtr<detail::EventState> state) : StateHandle(std::move(state)) {}

  /// Wakes all who wait; they return even if `clear()` follows at once.
  void set() const { state().set(); }
  void clear() const { state().clear(); }
  bool is_set() const { return state().is_set(); }

  /// Completes when it is set; at once if it is. Cancelling ends the wait.
  Task<> wait() const;
  /// The same; false if it is not set within `timeout`. A negative one counts as 0.
  Task<bool> wait(std::chrono::nanoseconds timeout) const;
  /// The same without a loop; `std::logic_error` on a running loop's thread.
  bool blocking_wait(std::optional<std::chrono::nanoseconds> timeout = std::nullopt) const;
};

}  // namespace cofork::ipc
