// What the tests of connections have in common: children that are given handles, and hostile peers.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cofork/ipc/connection.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/ipc/message.hpp>
#include <cofork/ipc/packet_socket.hpp>
#include <cofork/ipc/stream_socket.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/loop.hpp>
#include <cstdio>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace connection_test {

/// The errno of the std::system_error that `function` throws; 0 if it throws none.
template <class F>
int error_of(F function) {
  try {
    function();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

/// A forked child that runs a function, and has those of the library's handles that the function has captured by value;
/// everything else is closed in it. Killed and reaped by the destructor.
class Child {
 public:
  template <class F>
  explicit Child(F body) {
    cofork::detail::GivenHandles given(cofork::detail::handles_within(&body, sizeof body));
    std::vector<int> kept = given.descriptors();
    pid_ = ::fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ > 0) return;
    cofork::detail::forget_loop();
    close_all_but(std::move(kept));
    given.in_child();
    int status = 0;
    try {
      body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
      status = 70;
    }
    ::_exit(status);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill();
    wait();
  }

  pid_t pid() const { return pid_; }
  void kill(int signal = SIGKILL) const { ::kill(pid_, signal); }
  /// The exit status, or -N for signal N.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  static void close_all_but(std::vector<int> kept) {
    std::sort(kept.begin(), kept.end());
    unsigned first = 3;
    for (const int descriptor : kept) {
      const auto number = static_cast<unsigned>(descriptor);
      if (number > first) ::close_range(first, number - 1, 0);
      first = std::max(first, number + 1);
    }
    ::close_range(first, ~0U, 0);
  }

  pid_t pid_;
};

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

/// The two ends of a Unix socket pair that do not block.
struct Sockets {
  cofork::ipc::Descriptor left, right;

  explicit Sockets(int type) {
    std::array<int, 2> ends = {-1, -1};
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
      throw std::system_error(errno, std::generic_category(), "socketpair");
    left.reset(ends[0]);
    right.reset(ends[1]);
  }
};

/// A connection whose peer is this test, with a bare socket.
template <class T>
struct HostilePeer {
  cofork::ipc::Descriptor socket;
  cofork::ipc::Connection<T> connection;

  static HostilePeer of_packets() {
    Sockets sockets(SOCK_SEQPACKET);
    return {std::move(sockets.left), over(cofork::detail::PacketSocket::received(std::move(sockets.right)))};
  }
  static HostilePeer of_stream() {
    using cofork::detail::StreamSocket;
    Sockets sockets(SOCK_STREAM);
    return {std::move(sockets.left),
            over(std::make_unique<StreamSocket>(std::move(sockets.right), StreamSocket::Family::unix_domain))};
  }
  void send(const std::string& bytes, std::vector<int> descriptors = {}) const {
    if (!cofork::ipc::send_with_descriptors(socket.get(), bytes_of(bytes), descriptors))
      throw std::runtime_error("the hostile peer cannot send");
  }

 private:
  static cofork::ipc::Connection<T> over(std::unique_ptr<cofork::detail::MessageSocket> message_socket) {
    return cofork::ipc::Connection<T>(cofork::detail::make_intrusive<cofork::detail::ConnectionState>(
        std::move(message_socket), cofork::detail::EndLine(), true, true));
  }
};

inline std::string frame(const cofork::detail::MessageHeader& header, const std::string& body = {}) {
  std::string bytes(sizeof header, '\0');
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes + body;
}

/// What a message of these bytes begins with.
inline cofork::detail::MessageHeader header_of(std::size_t size, std::uint16_t descriptors = 0) {
  cofork::detail::MessageHeader header;
  header.size = size;
  header.descriptors = descriptors;
  return header;
}

}  // namespace connection_test
