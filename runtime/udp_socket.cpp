#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cofork/runtime/lookup.hpp>
#include <cofork/runtime/udp_socket.hpp>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork {

namespace detail {
namespace {

constexpr std::size_t longest_datagram = 65536;

class [[nodiscard("co_await it")]] SendDatagram final : public SocketOperation {
 public:
  SendDatagram(SocketPtr socket, std::span<const std::byte> bytes, const SocketAddress& to)
      : SocketOperation(std::move(socket), DescriptorPoll::For::writing, "send from"), bytes_(bytes), to_(to) {}
  void await_resume() const { finish(); }

 private:
  bool proceed() override {
    while (::sendto(state().descriptor(), bytes_.data(), bytes_.size(), MSG_DONTWAIT | MSG_NOSIGNAL, to_.get(),
                    to_.size) < 0) {
      if (errno == EAGAIN) return false;
      if (errno != EINTR)
        throw std::system_error(errno, std::generic_category(),
                                "send from " + state().subject() + " to " + name_of(to_));
    }
    return true;
  }
  std::span<const std::byte> bytes_;
  const SocketAddress& to_;
};

class [[nodiscard("co_await it")]] ReceiveDatagram final : public SocketOperation {
 public:
  explicit ReceiveDatagram(SocketPtr socket)
      : SocketOperation(std::move(socket), DescriptorPoll::For::reading, "receive at") {}
  Datagram await_resume() {
    finish();
    return std::move(datagram_);
  }

 private:
  bool proceed() override {
    // One for every thread: a datagram stays in it for no longer than this call.
    static thread_local const std::unique_ptr<char[]> buffer(new char[longest_datagram]);
    SocketAddress from;
    ssize_t size;
    do {
      from.size = sizeof from.storage;
      size = ::recvfrom(state().descriptor(), buffer.get(), longest_datagram, MSG_DONTWAIT,
                        reinterpret_cast<sockaddr*>(&from.storage), &from.size);
    } while (size < 0 && errno == EINTR);
    if (size < 0 && errno == EAGAIN) return false;
    if (size < 0) state().fail(errno, "receive at");
    datagram_.data.assign(buffer.get(), static_cast<std::size_t>(size));
    datagram_.host = host_of(from);
    datagram_.port = port_of(from);
    return true;
  }
  Datagram datagram_ = {};
};

Task<> send_datagram(SocketPtr socket, std::span<const std::byte> bytes, std::string host, std::uint16_t port) {
  socket->check_open();
  const std::vector<SocketAddress> addresses = co_await Lookup(std::move(host), port, SOCK_DGRAM);
  const int family = socket->address().family();
  for (const SocketAddress& address : addresses) {
    if (address.family() != family) continue;
    co_await SendDatagram(socket, bytes, address);
    co_return;
  }
  socket->fail(EAFNOSUPPORT, "send from");
}

Task<Datagram> receive_datagram(SocketPtr socket) {
  Datagram datagram = co_await ReceiveDatagram(std::move(socket));
  co_return datagram;
}

void set_option(const SocketState& socket, int level, int option, int value) {
  if (::setsockopt(socket.descriptor(), level, option, &value, sizeof value) < 0) socket.fail(errno, "setsockopt of");
}

}  // namespace
}  // namespace detail

UdpSocket UdpSocket::bind(UdpOptions options, std::string host, std::uint16_t port) {
  const std::string name = host + ':' + std::to_string(port);
  const auto addresses = detail::find_addresses(host, port, true, false, SOCK_DGRAM);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    try {
      detail::Descriptor descriptor(::socket(addresses[i].family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!descriptor.valid()) throw std::system_error(errno, std::generic_category(), "socket");
      const auto socket = detail::make_intrusive<detail::SocketState>(std::move(descriptor), name, "socket");
      if (options.reuse_address) detail::set_option(*socket, SOL_SOCKET, SO_REUSEADDR, 1);
      if (options.broadcast) detail::set_option(*socket, SOL_SOCKET, SO_BROADCAST, 1);
      if (::bind(socket->descriptor(), addresses[i].get(), addresses[i].size) < 0) socket->fail(errno, "bind");
      if (port == 0) socket->set_subject(host + ':' + std::to_string(detail::port_of(socket->address())));
      return UdpSocket(socket);
    } catch (const std::system_error&) {
      if (i + 1 == addresses.size()) throw;
    }
  }
  throw std::system_error(EADDRNOTAVAIL, std::generic_category(), "bind " + name);
}

UdpSocket UdpSocket::adopt(int descriptor) {
  detail::Descriptor owned(descriptor);
  const std::string name = "descriptor " + std::to_string(descriptor);
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
    throw std::system_error(errno, std::generic_category(), "adopt " + name);
  if (type != SOCK_DGRAM) throw std::invalid_argument("adopt " + name + ": it is no datagram socket");
  detail::set_nonblocking(descriptor);
  return UdpSocket(detail::make_intrusive<detail::SocketState>(std::move(owned), name, "socket"));
}

UdpSocket& UdpSocket::operator=(UdpSocket&& other) noexcept {
  if (this == &other) return *this;
  close();
  HandleBase::operator=(std::move(other));
  return *this;
}

Endpoint UdpSocket::local_address() const {
  const detail::SocketAddress address = state()->address();
  return {detail::host_of(address), detail::port_of(address)};
}

Task<> UdpSocket::send_to(std::span<const std::byte> bytes, std::string host, std::uint16_t port) {
  return detail::send_datagram(state(), bytes, std::move(host), port);
}

Task<> UdpSocket::send_to(std::string_view bytes, std::string host, std::uint16_t port) {
  return send_to(std::as_bytes(std::span(bytes)), std::move(host), port);
}

Task<Datagram> UdpSocket::recv_from() { return detail::receive_datagram(state()); }

void UdpSocket::change_membership(bool join, const std::string& group, const std::string& interface) {
  const detail::SocketPtr socket = state();
  const unsigned index = interface.empty() ? 0 : ::if_nametoindex(interface.c_str());
  if (!interface.empty() && index == 0) socket->fail(errno, "interface of a group of");
  ip_mreqn four = {};
  ipv6_mreq six = {};
  int status = 0;
  if (::inet_pton(AF_INET, group.c_str(), &four.imr_multiaddr) == 1) {
    four.imr_ifindex = static_cast<int>(index);
    status = ::setsockopt(socket->descriptor(), IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &four,
                          sizeof four);
  } else if (::inet_pton(AF_INET6, group.c_str(), &six.ipv6mr_multiaddr) == 1) {
    six.ipv6mr_interface = index;
    status =
        ::setsockopt(socket->descriptor(), IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &six, sizeof six);
  } else {
    throw std::invalid_argument("not the address of a multicast group: " + group);
  }
  if (status < 0) socket->fail(errno, join ? "join a group at" : "leave a group at");
}

void UdpSocket::join_group(const std::string& group, const std::string& interface) {
  change_membership(true, group, interface);
}
void UdpSocket::leave_group(const std::string& group, const std::string& interface) {
  change_membership(false, group, interface);
}

void UdpSocket::set_multicast_loop(bool on) {
  const detail::SocketPtr socket = state();
  const bool six = socket->address().family() == AF_INET6;
  detail::set_option(*socket, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, on);
}

void UdpSocket::set_multicast_ttl(int hops) {
  const detail::SocketPtr socket = state();
  const bool six = socket->address().family() == AF_INET6;
  detail::set_option(*socket, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, hops);
}

void UdpSocket::close() noexcept {
  detail::close_socket(handle_state());
  reset();
}

}  // namespace cofork
