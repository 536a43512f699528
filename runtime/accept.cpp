#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cofork/runtime/accept.hpp>
#include <stdexcept>
#include <system_error>

namespace cofork::detail {

bool peer_has_gone(int error) noexcept {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

namespace {

[[noreturn]] void throw_errno(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

void set(int socket, int level, int option, int value, const std::string& name) {
  if (::setsockopt(socket, level, option, &value, sizeof value) < 0) throw_errno("setsockopt " + name);
}

SocketPtr listen(Descriptor socket, const SocketAddress& address, const std::string& name,
                 const ListenOptions& options) {
  if (::bind(socket.get(), address.get(), address.size) < 0) throw_errno("bind " + name);
  if (::listen(socket.get(), options.backlog) < 0) throw_errno("listen on " + name);
  return make_intrusive<SocketState>(std::move(socket), name, "listener");
}

}  // namespace

bool AcceptOperation::proceed() {
  while (true) {
    SocketAddress peer;
    peer.size = sizeof peer.storage;
    Descriptor socket(::accept4(state().descriptor(), reinterpret_cast<sockaddr*>(&peer.storage), &peer.size,
                                SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      std::string name = peer.family() == AF_UNIX ? state().subject() : name_of(unmapped(peer));
      accepted_ = make_intrusive<StreamState>(std::move(socket), std::move(name), StreamState::Kind::socket);
      return true;
    }
    if (peer_has_gone(errno)) continue;
    switch (errno) {
      case EAGAIN:
        return false;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        state().failed_for_want = true;
        [[fallthrough]];
      default:
        state().fail(errno, "accept from");
    }
  }
}

std::string unix_path(std::string path) {
  if (!path.empty() && path.front() == '@') path.front() = '\0';
  return path;
}

SocketPtr listen_tcp(const std::string& host, std::uint16_t port, const ListenOptions& options) {
  std::vector<SocketAddress> addresses = find_addresses(host, port, true, false);
  // One socket of IPv6 is for all addresses, of IPv4 as well.
  if (host.empty())
    std::partition(addresses.begin(), addresses.end(),
                   [](const SocketAddress& each) { return each.family() == AF_INET6; });
  const std::string name = host + ':' + std::to_string(port);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    try {
      Descriptor socket = stream_socket_for(addresses[i]);
      set(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1, name);
      if (options.reuse_port) set(socket.get(), SOL_SOCKET, SO_REUSEPORT, 1, name);
      if (host.empty() && addresses[i].family() == AF_INET6) set(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0, name);
      // What is accepted inherits it.
      set(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1, name);
      SocketPtr listener = listen(std::move(socket), addresses[i], name, options);
      if (port == 0) listener->set_subject(host + ':' + std::to_string(port_of(listener->address())));
      return listener;
    } catch (const std::system_error& error) {
      // Another server's port is not to be shared with it by families.
      if (i + 1 == addresses.size() || error.code() == std::errc::address_in_use) throw;
    }
  }
  throw std::system_error(EADDRNOTAVAIL, std::generic_category(), "bind " + name);
}

SocketPtr listen_unix(const std::string& path, const ListenOptions& options) {
  const SocketAddress address = SocketAddress::unix_domain(path);
  SocketPtr listener = listen(stream_socket_for(address), address, readable_path(path), options);
  if (path.front() != '\0') listener->file = SocketFile::at(path);
  return listener;
}

SocketPtr adopt_listener(int descriptor) {
  Descriptor socket(descriptor);
  const std::string name = "descriptor " + std::to_string(descriptor);
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0) throw_errno("adopt " + name);
  if (listens == 0) throw std::invalid_argument("adopt " + name + ": it does not listen");
  set_nonblocking(descriptor);
  return make_intrusive<SocketState>(std::move(socket), name, "listener");
}

}  // namespace cofork::detail
