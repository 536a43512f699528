// Peers that are not ours: plain system calls.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/runtime/byte_stream.hpp>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace support {

[[noreturn]] inline void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

/// A descriptor that blocks, and that is closed at the end.
class Peer {
 public:
  explicit Peer(int descriptor) : descriptor_(descriptor) {
    if (descriptor < 0) fail("peer");
  }
  Peer(Peer&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Peer& operator=(Peer&&) = delete;
  ~Peer() { close(); }

  int get() const { return descriptor_; }
  void close() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }
  void write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t count = ::write(descriptor_, text.data(), text.size());
      if (count < 0) fail("peer's write");
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  /// At most `size`; fewer only at the end.
  std::string read(std::size_t size) const {
    std::string text(size, '\0');
    std::size_t filled = 0;
    while (filled < size) {
      const ssize_t count = ::read(descriptor_, text.data() + filled, size - filled);
      if (count < 0) fail("peer's read");
      if (count == 0) break;
      filled += static_cast<std::size_t>(count);
    }
    text.resize(filled);
    return text;
  }
  /// From a socket, without waiting.
  std::string read_what_is_there() const {
    std::string text(50000, '\0');
    const ssize_t count = ::recv(descriptor_, text.data(), text.size(), MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN) fail("peer's recv");
    text.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    return text;
  }
  void shutdown_write() const {
    if (::shutdown(descriptor_, SHUT_WR) < 0) fail("shutdown");
  }
  /// Closing it will reset the connection.
  void reset() {
    const linger now = {1, 0};
    if (::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0) fail("setsockopt");
    close();
  }

 private:
  int descriptor_;
};

struct Ends {
  cofork::ByteStream stream;
  Peer peer;
};

inline Ends socket_pair() {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0) fail("socketpair");
  return {cofork::ByteStream::adopt(ends[0]), Peer(ends[1])};
}
/// The stream is at the end that is read.
inline Ends pipe_to_stream() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) fail("pipe");
  return {cofork::ByteStream::adopt(ends[0]), Peer(ends[1])};
}
inline Ends pipe_from_stream() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) fail("pipe");
  return {cofork::ByteStream::adopt(ends[1]), Peer(ends[0])};
}

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

inline Peer connect_to(std::uint16_t port) {
  Peer peer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  if (::connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) fail("connect");
  return peer;
}

struct Listening {
  Peer socket;
  std::uint16_t port;
};

/// Nobody listens there, and nobody else can: who connects is refused.
inline Listening bind_to_loopback() {
  Peer peer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(peer.get(), reinterpret_cast<const sockaddr*>(&address), size) < 0 ||
      ::getsockname(peer.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0)
    fail("bind");
  return {std::move(peer), ntohs(address.sin_port)};
}

/// The kernel accepts for it as long as its queue has room.
inline Listening listen_at_loopback(int backlog = 16) {
  Listening listening = bind_to_loopback();
  if (::listen(listening.socket.get(), backlog) < 0) fail("listen");
  return listening;
}

/// A connection that is in its queue: `connect_to` may return before that.
inline Peer connect_to_queue_of(const Listening& server) {
  Peer peer = connect_to(server.port);
  pollfd queued = {server.socket.get(), POLLIN, 0};
  if (::poll(&queued, 1, 30000) != 1) fail("poll");
  return peer;
}

/// Lets the process have only so many descriptors more than it has.
class FewDescriptors {
 public:
  explicit FewDescriptors(unsigned more) {
    if (::getrlimit(RLIMIT_NOFILE, &before_) < 0) fail("getrlimit");
    const int next = ::dup(0);
    ::close(next);
    const rlimit now = {static_cast<rlim_t>(next) + more, before_.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &now) < 0) fail("setrlimit");
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

/// The sockets that this process has.
inline std::set<int> open_sockets() {
  std::set<int> sockets;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int descriptor = std::stoi(entry.path().filename());
    int type;
    socklen_t size = sizeof type;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0) sockets.insert(descriptor);
  }
  return sockets;
}

/// The code of the `std::system_error` that awaiting throws; 0 if none.
template <class A>
cofork::Task<int> error_of(A awaitable) {
  try {
    (void)co_await std::move(awaitable);
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
  co_return 0;
}
inline cofork::Task<int> error_of_task(cofork::Task<> task) {
  try {
    co_await std::move(task);
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
  co_return 0;
}

}  // namespace support
