// What the copies of a listener share within a process.
#pragma once

#include <chrono>
#include <cofork/ipc/authentication.hpp>
#include <cofork/ipc/connection_state.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/socket_watch.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/socket_address.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace cofork::detail {

/// A connection over a stream socket that does not block, after the handshake.
ConnectionPtr make_stream_connection(ipc::Descriptor socket);

/// A listening socket and the handshakes under way on it. Each has a head start of a few milliseconds, as a rule enough
/// for all of it, and goes on beside the following ones from then on: so a peer that says nothing holds up nobody else,
/// and a process that accepts one at a time does not take peers away from others that would have time for them. Any
/// thread may use it.
class ListenerState final : public HandleState {
 public:
  /// Throw std::system_error, std::invalid_argument.
  static IntrusivePtr<ListenerState> bind_unix(const std::string& path, AuthenticationKey key);
  static IntrusivePtr<ListenerState> bind_tcp(const std::string& host, std::uint16_t port, AuthenticationKey key);
  ListenerState(ipc::Descriptor socket, AuthenticationKey key);
  ~ListenerState() override;

  /// The next one who is connected, and proven to know the key; null: wait, and call it again. Throws
  /// AuthenticationError for one whose handshake failed, and std::system_error (EMFILE).
  ConnectionPtr try_accept();
  /// What to wait with: when `descriptor()` is readable, or then at the deadline, `try_accept` may have something.
  int descriptor();
  SocketWatch& watch();
  std::optional<Clock::time_point> deadline() const;
  /// Whoever has called `descriptor` or `watch` does not wait any more.
  void leave() noexcept;

  int native_handle() const;
  /// 0 for a Unix socket.
  std::uint16_t port() const;

  void encode(ipc::Writer& writer);
  static IntrusivePtr<ListenerState> decode(ipc::Reader& reader);

  void list_descriptors(std::vector<int>& to) const override;
  void before_fork() override;
  void after_fork_in_parent() noexcept override { mutex_.unlock(); }
  void after_fork_in_child(bool given) noexcept override;

 private:
  void close_in_child() noexcept override { close(); }
  SocketFilePtr file_of_socket() const noexcept override { return file_; }
  void close() noexcept;
  ipc::Descriptor accept_socket();
  ConnectionPtr begin_handshake();
  ConnectionPtr continue_handshakes();
  bool may_begin() const noexcept;
  void watch_socket(bool watched);
  void leave_other_process_alone() noexcept;
  int waiting_descriptor();

  mutable std::mutex mutex_;
  ipc::Descriptor socket_;
  const AuthenticationKey key_;
  std::list<Handshake> handshakes_;  // the oldest first
  ipc::Descriptor epoll_;            // on their sockets, and on the one that listens while another may begin
  bool socket_watched_ = false;
  SocketWatches watches_;
  unsigned generation_;

  SocketFilePtr file_;
};

using ListenerPtr = IntrusivePtr<ListenerState>;

Task<ConnectionPtr> accept_connection(ListenerPtr listener);
ConnectionPtr blocking_accept_connection(ListenerState& listener);

}  // namespace cofork::detail
