// Queue<T>: messages for whoever takes them first, in this process and in others.
#pragma once

#include <chrono>
#include <cofork/ipc/queue_base.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/task.hpp>
#include <cstddef>
#include <optional>
#include <utility>

namespace cofork {

namespace ipc {

/// A queue between processes (`multiprocessing.Queue`), threads and coroutines; any number of them put and get. Any
/// type with a codec travels, whatever its length. Each message goes to exactly one of those who get, and those of one
/// producer come in the order in which they were put.
///
/// It is a handle: copies are the same queue. It travels by capture or argument to a `Process`, as an argument to pool
/// tasks, and in messages of other channels; there is no queue without a process that has it, and then its memory is
/// freed.
///
/// A message is in shared memory from when `put` returns: a process may put and end at once, whoever reads it when, and
/// whether or not somebody joins it before. Without a `maxsize` the memory grows with what is waiting.
///
/// A process that is killed at any instant leaves the queue whole: what it was putting is there or not, and of what was
/// put only what it had taken is gone with it.
///
/// Used after `close()`, or in a child that was not given it: std::logic_error.
template <class T>
class Queue : public detail::QueueHandle {
 public:
  using value_type = T;

  /// At most `maxsize` messages at a time; 0 is no limit. Throws std::system_error.
  explicit Queue(std::size_t maxsize = 0) : Queue(maxsize, false) {}
  /// For the codec.
  explicit Queue(detail::QueuePtr state) : QueueHandle(std::move(state)) {}

  /// Puts `value`; waits while the queue is full, but no longer than `timeout` (`QueueFull`; none waits for ever, and a
  /// negative one not at all). `QueueShutDown` if it was shut down, also while this waits. Cancelling it while it waits
  /// puts nothing. std::system_error where memory cannot grow any more.
  Task<> put(T value) const { return detail::queue_put<T>(queue(), std::move(value), std::nullopt); }
  Task<> put(T value, std::chrono::nanoseconds timeout) const {
    return detail::queue_put<T>(queue(), std::move(value), timeout);
  }
  /// The same without waiting.
  void put_nowait(detail::MessageParameter<T> value) const {
    const detail::QueuePut result = detail::put_now(queue_here(), value);
    if (result == detail::QueuePut::full) detail::throw_queue_full();
    if (result == detail::QueuePut::shut) detail::throw_queue_shut();
  }

  /// The next message; waits while there is none, but no longer than `timeout` (`QueueEmpty`). `QueueShutDown` if it
  /// was shut down and nothing is left. Cancelling loses nothing: a message is taken only by a call that gives it.
  /// `DecodeError` for a message that is no T: it is skipped.
  Task<T> get() const { return detail::queue_get<T>(queue(), std::nullopt); }
  Task<T> get(std::chrono::nanoseconds timeout) const { return detail::queue_get<T>(queue(), timeout); }
  /// The same without waiting.
  T get_nowait() const {
    std::optional<T> value;
    const detail::QueueTake result = detail::take_now(queue_here(), value);
    if (result == detail::QueueTake::empty) detail::throw_queue_empty();
    if (result == detail::QueueTake::shut) detail::throw_queue_shut();
    return std::move(*value);
  }

  /// The next message, or nothing when there will be none: the queue was shut down, or everybody who was given it, or
  /// put something, has closed it or died, and nothing is left in it: `while (auto message = co_await queue.next())`.
  ///
  /// Whoever only reads is no producer from when it waits for a message; and a process that gave the queue to others is
  /// none from when it waits for another process, until it puts something itself.
  Task<std::optional<T>> next() const { return detail::queue_next<T>(queue()); }

  /// `put` and `get` without a loop, for plain threads. std::logic_error on a running loop's thread.
  void blocking_put(detail::MessageParameter<T> value,
                    std::optional<std::chrono::nanoseconds> timeout = std::nullopt) const {
    detail::require_no_loop("blocking_put");
    detail::blocking_queue_put(queue_here(), value, timeout);
  }
  T blocking_get(std::optional<std::chrono::nanoseconds> timeout = std::nullopt) const {
    detail::require_no_loop("blocking_get");
    return detail::blocking_queue_get<T>(queue_here(), timeout);
  }

  /// Exact at some instant during the call; others may put and get right after it.
  std::size_t qsize() const { return queue_here().count(); }
  bool empty() const { return qsize() == 0; }
  bool full() const { return queue_here().maxsize() != 0 && qsize() >= queue_here().maxsize(); }

  /// For everybody, in all processes: from now on `put` throws `QueueShutDown`, and so does `get` when what is left has
  /// been taken. Who waits, wakes up (`queue.Queue.shutdown`, which `multiprocessing` does not have).
  void shutdown() const { queue_here().shut(); }

 protected:
  Queue(std::size_t maxsize, bool joinable)
      : QueueHandle(
            detail::make_intrusive<detail::QueueState>(maxsize, joinable, !detail::surely_without_descriptors<T>)) {}
};

}  // namespace ipc

/// Another process gets the queue, too.
template <class T>
struct Codec<ipc::Queue<T>> {
  static void encode(ipc::Writer& writer, const ipc::Queue<T>& queue) {
    detail::QueueAccess::state_of(queue).encode(writer);
  }
  static ipc::Queue<T> decode(ipc::Reader& reader) {
    return ipc::Queue<T>(detail::make_intrusive<detail::QueueState>(reader, false));
  }
};

}  // namespace cofork
