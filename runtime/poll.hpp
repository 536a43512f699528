// Waiting until any descriptor is readable or writable.
#pragma once

#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/socket_state.hpp>
#include <cofork/runtime/task.hpp>
#include <utility>

namespace cofork {

namespace detail {

class [[nodiscard("co_await it")]] ReadyOperation final : public SocketOperation {
 public:
  ReadyOperation(SocketPtr state, DescriptorPoll::For direction)
      : SocketOperation(std::move(state), direction, "wait for", First::wait) {}
  ReadyOperation(const ReadyOperation&) = default;

  void await_resume() const { finish(); }
  operator Task<>() const { return as_task<void>(*this); }

 private:
  bool proceed() override { return true; }
};

}  // namespace detail

/// Tells when a descriptor, which stays its owner's, is ready: for what one reads and writes oneself (`loop.add_reader`
/// and `add_writer`). The owner closes it after the `Poll`. There may be one `Poll` on a descriptor at a time, or
/// another object of the library's, std::system_error with EEXIST; several coroutines may wait with it. Regular files
/// are always ready.
class Poll : public detail::HandleBase {
 public:
  /// The mode of the descriptor's open file, blocking or not, is left as it is.
  explicit Poll(int descriptor);
  Poll(Poll&&) noexcept = default;
  Poll& operator=(Poll&&) noexcept;
  ~Poll() { close(); }

  /// Waits until reading would not block, which is also so at the end, and after an error. It may happen that nothing
  /// is there after all: somebody else took it. Cancelling ends the wait at once.
  detail::ReadyOperation readable() { return {state(), detail::DescriptorPoll::For::reading}; }
  /// Waits until writing would not block, or would fail.
  detail::ReadyOperation writable() { return {state(), detail::DescriptorPoll::For::writing}; }

  /// Coroutines that wait get std::system_error with ECANCELED. The descriptor stays open.
  void close() noexcept;
  int native_handle() const { return state()->descriptor(); }

 private:
  detail::SocketPtr state() const { return detail::open_socket(handle_state(), "Poll"); }
};

}  // namespace cofork
