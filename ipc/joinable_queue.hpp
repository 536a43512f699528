// JoinableQueue<T>: a queue that knows when all of its messages have been dealt with.
#pragma once

#include <cofork/ipc/queue.hpp>

namespace cofork {

namespace detail {

inline Task<> join_queue(QueuePtr queue) {
  QueueState& state = *queue;
  auto attempt = [&state] { return state.all_done(); };
  const IntrusivePtr<Monitor> monitor(&state);
  co_await wait_until(monitor, attempt, std::nullopt);
}

}  // namespace detail

namespace ipc {

/// A queue whose consumers say when they are done with each message, so that others can wait for all of them
/// (`multiprocessing.JoinableQueue`).
///
/// Messages that a process has taken and not said to be done count as done when it dies or closes its last handle:
/// nobody waits for ever.
template <class T>
class JoinableQueue : public Queue<T> {
 public:
  explicit JoinableQueue(std::size_t maxsize = 0) : Queue<T>(maxsize, true) {}
  /// For the codec.
  explicit JoinableQueue(detail::QueuePtr state) : Queue<T>(std::move(state)) {}

  /// One message that somebody got has been dealt with. std::logic_error if that was said of all that were put.
  void task_done() const { this->queue_here().task_done(); }

  /// Waits until as many messages are done as were put. Cancelling it ends the wait only.
  Task<> join() const { return detail::join_queue(this->queue()); }
  /// The same without a loop, for plain threads. std::logic_error on a running loop's thread.
  void blocking_join() const {
    detail::require_no_loop("blocking_join");
    const detail::QueuePtr state = this->queue();
    detail::blocking_wait_until(
        *state, [&] { return state->all_done(); }, std::nullopt);
  }
};

}  // namespace ipc

template <class T>
struct Codec<ipc::JoinableQueue<T>> {
  static void encode(ipc::Writer& writer, const ipc::JoinableQueue<T>& queue) {
    detail::QueueAccess::state_of(queue).encode(writer);
  }
  static ipc::JoinableQueue<T> decode(ipc::Reader& reader) {
    return ipc::JoinableQueue<T>(detail::make_intrusive<detail::QueueState>(reader, true));
  }
};

}  // namespace cofork
