// What all queues share: putting, taking and waiting.
#pragma once

#include <chrono>
#include <cofork/ipc/blocking.hpp>
#include <cofork/ipc/monitor_wait.hpp>
#include <cofork/ipc/queue_message.hpp>
#include <cofork/ipc/queue_state.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/task.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

namespace cofork {

namespace detail {

using Timeout = std::optional<std::chrono::nanoseconds>;

/// How a message comes to what only encodes it. If there may be handles in it, by value: one that is moved in is closed
/// here then.
template <class T>
using MessageParameter = std::conditional_t<surely_without_descriptors<T>, const T&, T>;

template <class T>
QueuePut put_now(QueueState& queue, const T& value) {
  if constexpr (is_copied_whole<T>) {
    QueueItem item{.bytes = std::as_bytes(std::span(&value, 1)), .more = {}, .packet = nullptr};
    return queue.try_put(item);
  } else if constexpr (is_block<T>) {
    return queue.try_put(*BlockItem<T>(value));
  } else {
    const ThreadsWriter writer;
    ipc::encode(*writer, value);
    QueueItem item = encoded_item(queue, *writer);
    return queue.try_put(item);
  }
}

template <class T>
QueueTake take_now(QueueState& queue, std::optional<T>& to) {
  static_assert(!ipc::is_view_v<T>, "a view would outlive the message that it is decoded from: put what owns");
  QueueTaken taken;
  if constexpr ((is_block<T> || is_copied_whole<T>)&&QueueLog::copies_blocks) {
    taken.decode = &decode_message<T>;
    taken.value = &to;
  }
  const QueueTake result = queue.try_take(taken);
  if (result != QueueTake::done) {
    to.reset();
    return result;
  }
  if (taken.packet) {
    to.emplace(taken.packet->decode<Packed<T>>().value);
  } else if (taken.decoded) {
    if (taken.error) std::rethrow_exception(taken.error);
  } else {
    decode_message<T>(&to, taken.bytes);
  }
  return result;
}

/// Also `shut` when no producer is left and nothing is there.
template <class T>
QueueTake next_now(QueueState& queue, std::optional<T>& to) {
  QueueTake result = take_now(queue, to);
  if (result != QueueTake::empty || !queue.producers_are_gone()) return result;
  result = take_now(queue, to);
  return result == QueueTake::empty ? QueueTake::shut : result;
}

template <class T>
Task<> queue_put(QueuePtr queue, T value, Timeout timeout) {
  QueuePut result = put_now(*queue, value);
  if (result == QueuePut::full) {
    WaitingItem<T> item(*queue, value);
    auto attempt = [&] {
      result = queue->try_put(*item);
      return result != QueuePut::full;
    };
    const IntrusivePtr<Monitor> monitor(queue.get());
    const bool in_time = co_await wait_until(monitor, attempt, deadline_of(timeout));
    if (!in_time) throw_queue_full();
  }
  if (result == QueuePut::shut) throw_queue_shut();
}

template <class T>
Task<T> queue_get(QueuePtr queue, Timeout timeout) {
  std::optional<T> value;
  QueueTake result = take_now(*queue, value);
  if (result == QueueTake::empty) {
    auto attempt = [&] {
      result = take_now(*queue, value);
      return result != QueueTake::empty;
    };
    queue->waits_for_message();
    const IntrusivePtr<Monitor> monitor(queue.get());
    const bool in_time = co_await wait_until(monitor, attempt, deadline_of(timeout));
    if (!in_time) throw_queue_empty();
  }
  if (result == QueueTake::shut) throw_queue_shut();
  co_return std::move(*value);
}

template <class T>
Task<std::optional<T>> queue_next(QueuePtr queue) {
  std::optional<T> value;
  if (take_now(*queue, value) == QueueTake::empty) {
    auto attempt = [&] { return next_now(*queue, value) != QueueTake::empty; };
    queue->waits_for_message();
    const IntrusivePtr<Monitor> monitor(queue.get());
    co_await wait_until(monitor, attempt, std::nullopt);
  }
  co_return value;
}

template <class T>
void blocking_queue_put(QueueState& queue, const T& value, Timeout timeout) {
  QueuePut result = put_now(queue, value);
  if (result == QueuePut::full) {
    const QueuePtr kept(&queue);
    WaitingItem<T> item(queue, value);
    const auto attempt = [&] {
      result = queue.try_put(*item);
      return result != QueuePut::full;
    };
    if (!blocking_wait_until(queue, attempt, deadline_of(timeout))) throw_queue_full();
  }
  if (result == QueuePut::shut) throw_queue_shut();
}

template <class T>
T blocking_queue_get(QueueState& queue, Timeout timeout) {
  std::optional<T> value;
  QueueTake result = take_now(queue, value);
  if (result == QueueTake::empty) {
    const QueuePtr kept(&queue);
    const auto attempt = [&] {
      result = take_now(queue, value);
      return result != QueueTake::empty;
    };
    queue.waits_for_message();
    if (!blocking_wait_until(queue, attempt, deadline_of(timeout))) throw_queue_empty();
  }
  if (result == QueueTake::shut) throw_queue_shut();
  return std::move(*value);
}

/// A handle to a queue, whatever is in it.
class QueueHandle : public HandleBase {
 public:
  /// Gives up this handle: it puts and gets no more (std::logic_error). What was put stays; other handles go on. Where
  /// it was the last one of all that may put, `next()` of the others ends. Closing twice is nothing.
  void close() noexcept { reset(); }

 protected:
  explicit QueueHandle(QueuePtr state) : HandleBase(IntrusivePtr<HandleState>(std::move(state))) {}
  /// Throws std::logic_error if it is closed.
  QueuePtr queue() const { return QueuePtr(&queue_here()); }
  QueueState& queue_here() const {
    if (!handle_state()) [[unlikely]]
      throw_queue_closed();
    return *static_cast<QueueState*>(handle_state());
  }

 private:
  friend class QueueAccess;
};

/// For the codecs.
class QueueAccess {
 public:
  static QueueState& state_of(const QueueHandle& handle) { return handle.queue_here(); }
};

}  // namespace detail

}  // namespace cofork
