// Where listeners listen and where one connects to.
#pragma once

#include <sys/socket.h>

#include <cofork/runtime/descriptor.hpp>
#include <cstdint>
#include <string>
#include <vector>

struct addrinfo;

namespace cofork::detail {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const noexcept { return storage.ss_family; }

  /// A path in the file system, or a name in Linux's abstract namespace after a leading NUL. Throws
  /// std::invalid_argument if it is empty or too long.
  static SocketAddress unix_domain(const std::string& path);
};

/// An IPv4 address that a socket for both families tells as an IPv6 one ("::ffff:127.0.0.1") as itself, others as they
/// are.
SocketAddress unmapped(const SocketAddress& address);

/// Of an internet address: "127.0.0.1", "fe80::1%eth0"; nothing for others.
std::string host_of(const SocketAddress& address);
/// 0 for what is no internet address.
std::uint16_t port_of(const SocketAddress& address) noexcept;
/// For people: "127.0.0.1:80", "[::1]:80", "unix socket".
std::string name_of(const SocketAddress& address);

/// The path of a socket for people: "@" stands for the leading NUL of an abstract name.
std::string readable_path(std::string path);

/// The addresses of a host, in the order to try them, for a SOCK_STREAM or SOCK_DGRAM; an empty `host` is every address
/// of this machine, to listen, and this machine itself, to connect. Blocks while names are looked up: `numeric_only`
/// does not, and gives nothing for a name. Throws std::system_error.
std::vector<SocketAddress> find_addresses(const std::string& host, std::uint16_t port, bool to_listen,
                                          bool numeric_only, int socket_type = SOCK_STREAM);

/// What `getaddrinfo` found.
std::vector<SocketAddress> addresses_of(const addrinfo* found);

/// A stream socket for such an address, close-on-exec, that does not block. Throws std::system_error.
Descriptor stream_socket_for(const SocketAddress& address);

}  // namespace cofork::detail
