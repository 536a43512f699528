// UDP.
#pragma once

#include <cofork/runtime/socket_state.hpp>
#include <cofork/runtime/task.hpp>
#include <cofork/runtime/tcp.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cofork {

/// One datagram, and who sent it.
struct Datagram {
  std::string data;
  std::string host;  ///< numeric
  std::uint16_t port;
};

/// How `UdpSocket::bind` binds.
struct UdpOptions {
  bool reuse_address = false;  ///< Several sockets may have the port, as members of a multicast group do.
  bool broadcast = false;      ///< It may send to broadcast addresses.
};

/// A socket for datagrams (`loop.create_datagram_endpoint`). Several coroutines may wait to send and to receive. It can
/// be given to a `Process`, which then receives beside the one that it was given by.
class UdpSocket : public detail::HandleBase {
 public:
  /// At `port`, 0 for any that is free; an empty `host` is all of this machine's IPv4 addresses, "::" those of
  /// IPv6. A name is looked up, which blocks. std::system_error.
  static UdpSocket bind(std::string host, std::uint16_t port) { return bind(UdpOptions{}, std::move(host), port); }
  static UdpSocket bind(UdpOptions options, std::string host, std::uint16_t port);
  /// Over a datagram socket, which becomes this one's and non-blocking. std::system_error,
  /// std::invalid_argument if it is a socket of another kind.
  static UdpSocket adopt(int descriptor);

  UdpSocket(UdpSocket&&) noexcept = default;
  UdpSocket& operator=(UdpSocket&&) noexcept;
  /// Closes it.
  ~UdpSocket() { close(); }

  std::uint16_t port() const { return detail::port_of(state()->address()); }
  Endpoint local_address() const;

  /// Sends one datagram; waits while the system has no room for it. `host` may be a name, which is looked up each time.
  /// `bytes` must outlive the await. Cancelling it: either all of it was sent or nothing. std::system_error, EMSGSIZE
  /// when it is too long. That it was sent does not mean that it arrives.
  Task<> send_to(std::span<const std::byte> bytes, std::string host, std::uint16_t port);
  Task<> send_to(std::string_view bytes, std::string host, std::uint16_t port);
  /// The next datagram; an empty one is one, too. Cancelling loses none.
  Task<Datagram> recv_from();

  /// Joins a multicast group, at an interface ("eth0") or at the one that the system chooses. std::system_error,
  /// std::invalid_argument for what is no address.
  void join_group(const std::string& group, const std::string& interface = {});
  void leave_group(const std::string& group, const std::string& interface = {});
  /// Whether this machine's members of a group get what is sent from here; they do by default.
  void set_multicast_loop(bool on);
  /// How many routers what is sent to a group may pass; 1 by default.
  void set_multicast_ttl(int hops);

  /// Does nothing the second time. Coroutines that wait get std::system_error with ECANCELED.
  void close() noexcept;
  bool closed() const noexcept { return handle_state() == nullptr; }
  /// The descriptor, still the socket's.
  int native_handle() const { return state()->descriptor(); }

 private:
  explicit UdpSocket(detail::SocketPtr state)
      : HandleBase(detail::IntrusivePtr<detail::HandleState>(std::move(state))) {}
  detail::SocketPtr state() const { return detail::open_socket(handle_state(), "socket"); }
  void change_membership(bool join, const std::string& group, const std::string& interface);
};

}  // namespace cofork
