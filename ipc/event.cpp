#include <cofork/ipc/event.hpp>
#include <utility>

namespace cofork::detail {

namespace {

constexpr std::uint32_t kind_of_event = 5;

Task<bool> wait_for_event(IntrusivePtr<EventState> state, std::uint64_t before, Deadline deadline) {
  EventState& event = *state;
  return wait_until(
      std::move(state), [&event, before] { return event.set_since(before); }, deadline);
}

Task<> wait_for_event(IntrusivePtr<EventState> state, std::uint64_t before) {
  Task<bool> wait = wait_for_event(std::move(state), before, std::nullopt);
  co_await std::move(wait);
}

}  // namespace

EventState::EventState() : Monitor(name, kind_of_event, sizeof(Memory)) {}
EventState::EventState(ipc::Reader& reader) : Monitor(name, kind_of_event, sizeof(Memory), reader) {}

void EventState::set() {
  join();
  std::atomic<std::uint64_t>& word = state<Memory>().word;
  std::uint64_t before = word.load();
  do {
    if (before & is_set_bit) return;
  } while (!word.compare_exchange_weak(before, (before + 2) | is_set_bit, std::memory_order_seq_cst));
  changed_atomically();
}

void EventState::clear() { state<Memory>().word.fetch_and(~is_set_bit, std::memory_order_seq_cst); }

}  // namespace cofork::detail

namespace cofork::ipc {

Event::Event() : StateHandle(detail::make_intrusive<detail::EventState>()) {}

Task<> Event::wait() const { return detail::wait_for_event(shared_state(), state().now()); }

Task<bool> Event::wait(std::chrono::nanoseconds timeout) const {
  return detail::wait_for_event(shared_state(), state().now(), detail::deadline_of(timeout));
}

bool Event::blocking_wait(std::optional<std::chrono::nanoseconds> timeout) const {
  detail::require_no_loop("Event::blocking_wait");
  const detail::IntrusivePtr<detail::EventState> event = shared_state();
  const std::uint64_t before = event->now();
  return detail::blocking_wait_until(
      *event, [&] { return event->set_since(before); }, detail::deadline_of(timeout));
}

}  // namespace cofork::ipc
