// wait(): several connections and descriptors at once.
#pragma once

#include <chrono>
#include <cofork/ipc/connection.hpp>
#include <cofork/runtime/task.hpp>
#include <concepts>
#include <cstddef>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

namespace cofork {

namespace detail {
class WaitSet;
}  // namespace detail

namespace ipc {

/// Something to wait for: a connection, which it keeps open, or a descriptor, which must stay open by itself (that of
/// a `Process::sentinel()`, a socket, a pipe).
class Waitable {
 public:
  /// std::logic_error if it is closed or write-only.
  template <class T>
  Waitable(const Connection<T>& connection)
      : connection_(detail::ConnectionAccess::readable_state_of(connection)), descriptor_(-1) {}
  Waitable(int descriptor) noexcept : descriptor_(descriptor) {}

 private:
  friend class detail::WaitSet;
  detail::ConnectionPtr connection_;
  int descriptor_;
};

/// The indices of all that are ready: connections with a message or the end of their stream, and readable descriptors;
/// waits until there is one (`multiprocessing.connection.wait`). Nothing is taken from them. Empty when `timeout` has
/// passed; 0 and less only looks. Cancelling ends the wait. std::system_error for a descriptor that is not open.
Task<std::vector<std::size_t>> wait(std::vector<Waitable> objects,
                                    std::optional<std::chrono::nanoseconds> timeout = std::nullopt);

/// The same without a loop. std::logic_error on a running loop's thread.
std::vector<std::size_t> blocking_wait(std::vector<Waitable> objects,
                                       std::optional<std::chrono::nanoseconds> timeout = std::nullopt);

}  // namespace ipc

namespace detail {

template <class A>
concept WaitableRange =
    std::ranges::input_range<const A&> && std::convertible_to<std::ranges::range_reference_t<const A&>, ipc::Waitable>;
template <class A>
concept WaitArgument = std::convertible_to<const A&, ipc::Waitable> || WaitableRange<A> ||
    std::convertible_to<const A&, std::optional<std::chrono::nanoseconds>>;

/// The arguments of a call, one after the other.
struct WaitArguments {
  template <class A>
  void add(const A& argument) {
    if constexpr (std::convertible_to<const A&, ipc::Waitable>)
      objects.push_back(argument);
    else if constexpr (WaitableRange<A>)
      for (const auto& object : argument) objects.push_back(object);
    else
      timeout = argument;
  }
  std::vector<ipc::Waitable> objects;
  std::optional<std::chrono::nanoseconds> timeout;
};

}  // namespace detail

namespace ipc {

/// The same of connections, descriptors and ranges of these, one after the other, and a timeout at the end: `wait(a, b,
/// process.sentinel(), 1s)`. The indices count the elements of ranges.
template <detail::WaitArgument... A>
requires(sizeof...(A) > 0) Task<std::vector<std::size_t>> wait(const A&... arguments) {
  detail::WaitArguments all;
  (all.add(arguments), ...);
  return wait(std::move(all.objects), all.timeout);
}
template <detail::WaitArgument... A>
requires(sizeof...(A) > 0) std::vector<std::size_t> blocking_wait(const A&... arguments) {
  detail::WaitArguments all;
  (all.add(arguments), ...);
  return blocking_wait(std::move(all.objects), all.timeout);
}

}  // namespace ipc
}  // namespace cofork
