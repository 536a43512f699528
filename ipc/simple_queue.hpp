// SimpleQueue<T>: a queue that only puts and gets.
#pragma once

#include <cofork/ipc/queue.hpp>

namespace cofork {

namespace ipc {

/// A queue without a limit and without timeouts (`multiprocessing.SimpleQueue`). For everything else see `Queue`; `put`
/// never waits, however much there is.
template <class T>
class SimpleQueue : public detail::QueueHandle {
 public:
  using value_type = T;

  SimpleQueue()
      : QueueHandle(detail::make_intrusive<detail::QueueState>(std::size_t{0}, false,
                                                               !detail::surely_without_descriptors<T>)) {}
  /// For the codec.
  explicit SimpleQueue(detail::QueuePtr state) : QueueHandle(std::move(state)) {}

  Task<> put(T value) const { return detail::queue_put<T>(queue(), std::move(value), std::nullopt); }
  /// Cancelling it loses nothing.
  Task<T> get() const { return detail::queue_get<T>(queue(), std::nullopt); }

  /// For plain threads. std::logic_error on a running loop's thread.
  void blocking_put(detail::MessageParameter<T> value) const {
    detail::require_no_loop("blocking_put");
    detail::blocking_queue_put(queue_here(), value, std::nullopt);
  }
  T blocking_get() const {
    detail::require_no_loop("blocking_get");
    return detail::blocking_queue_get<T>(queue_here(), std::nullopt);
  }

  /// Exact at some instant during the call.
  bool empty() const { return queue_here().count() == 0; }
};

}  // namespace ipc

template <class T>
struct Codec<ipc::SimpleQueue<T>> {
  static void encode(ipc::Writer& writer, const ipc::SimpleQueue<T>& queue) {
    detail::QueueAccess::state_of(queue).encode(writer);
  }
  static ipc::SimpleQueue<T> decode(ipc::Reader& reader) {
    return ipc::SimpleQueue<T>(detail::make_intrusive<detail::QueueState>(reader, false));
  }
};

}  // namespace cofork
