#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cofork/runtime/socket_address.hpp>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace cofork::detail {

SocketAddress SocketAddress::unix_domain(const std::string& path) {
  sockaddr_un name = {};
  const bool abstract = !path.empty() && path.front() == '\0';
  if (path.empty()) throw std::invalid_argument("an empty path is no address");
  // A path ends with a NUL; an abstract name does not.
  if (path.size() + (abstract ? 0 : 1) > sizeof name.sun_path)
    throw std::invalid_argument("too long for the path of a socket (" + std::to_string(sizeof name.sun_path - 1) +
                                " bytes): " + path);
  if (!abstract && path.find('\0') != std::string::npos)
    throw std::invalid_argument("a path with a NUL inside is no address");
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  SocketAddress address;
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  std::memcpy(&address.storage, &name, address.size);
  return address;
}

namespace {
int errno_for(int status) {
  switch (status) {
    case EAI_SYSTEM:
      return errno;
    case EAI_MEMORY:
      return ENOMEM;
    case EAI_AGAIN:
      return EAGAIN;
    default:
      return EHOSTUNREACH;
  }
}
}  // namespace

std::string readable_path(std::string path) {
  if (!path.empty() && path.front() == '\0') path.front() = '@';
  return path;
}

SocketAddress unmapped(const SocketAddress& address) {
  const auto& six = reinterpret_cast<const sockaddr_in6&>(address.storage);
  if (address.family() != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) return address;
  sockaddr_in four = {};
  four.sin_family = AF_INET;
  four.sin_port = six.sin6_port;
  std::memcpy(&four.sin_addr, &six.sin6_addr.s6_addr[12], sizeof four.sin_addr);
  SocketAddress result;
  result.size = sizeof four;
  std::memcpy(&result.storage, &four, sizeof four);
  return result;
}

std::string host_of(const SocketAddress& address) {
  std::array<char, NI_MAXHOST> host = {};
  if (address.family() != AF_INET && address.family() != AF_INET6) return {};
  if (::getnameinfo(address.get(), address.size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) return {};
  return host.data();
}

std::uint16_t port_of(const SocketAddress& address) noexcept {
  if (address.family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address.storage).sin_port);
  if (address.family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_port);
  return 0;
}

std::string name_of(const SocketAddress& address) {
  if (address.family() == AF_UNIX) return "unix socket";
  const std::string host = host_of(address);
  return (address.family() == AF_INET6 ? '[' + host + ']' : host) + ':' + std::to_string(port_of(address));
}

std::vector<SocketAddress> addresses_of(const addrinfo* found) {
  std::vector<SocketAddress> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    address.size = each->ai_addrlen;
    std::memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
  }
  return addresses;
}

std::vector<SocketAddress> find_addresses(const std::string& host, std::uint16_t port, bool to_listen,
                                          bool numeric_only, int socket_type) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = socket_type;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0) | (numeric_only ? AI_NUMERICHOST : 0);
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (status == EAI_NONAME && numeric_only) return {};
  if (status != 0)
    throw std::system_error(errno_for(status), std::generic_category(),
                            "looking up " + host + ": " + ::gai_strerror(status));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  return addresses_of(found);
}

Descriptor stream_socket_for(const SocketAddress& address) {
  Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) throw std::system_error(errno, std::generic_category(), "socket");
  return socket;
}

}  // namespace cofork::detail
