// Accepting connections, of TCP and Unix listeners alike. Not for users.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/socket_state.hpp>
#include <cofork/runtime/stream_state.hpp>
#include <cofork/runtime/task.hpp>
#include <utility>

namespace cofork {

/// How `TcpListener::bind` and `UnixListener::bind` listen.
struct ListenOptions {
  int backlog = SOMAXCONN;  ///< How many connections may wait to be accepted; the system has a limit, too.
  bool reuse_port = false;  ///< Several sockets share a TCP port, and the system spreads connections over them.
};

namespace detail {

/// Of an error of accept(2): it concerns a peer who is gone again, and the next one can be accepted.
bool peer_has_gone(int error) noexcept;

class [[nodiscard("co_await it")]] AcceptOperation final : public SocketOperation {
 public:
  explicit AcceptOperation(SocketPtr listener)
      : SocketOperation(std::move(listener), DescriptorPoll::For::reading, "accept from") {}

  StreamPtr await_resume() {
    finish();
    return std::move(accepted_);
  }

 private:
  bool proceed() override;
  StreamPtr accepted_;
};

/// When there was no descriptor for the last peer, who still waits, the loop would do nothing but fail again.
constexpr std::chrono::milliseconds pause_for_want{20};

template <class Stream>
Task<Stream> accept_as(SocketPtr listener) {
  if (std::exchange(listener->failed_for_want, false)) co_await sleep(pause_for_want);
  StreamPtr accepted = co_await AcceptOperation(std::move(listener));
  co_return Stream(std::move(accepted));
}

/// Throw std::system_error, std::invalid_argument.
SocketPtr listen_tcp(const std::string& host, std::uint16_t port, const ListenOptions& options);
SocketPtr listen_unix(const std::string& path, const ListenOptions& options);
/// Takes a descriptor that listens already.
SocketPtr adopt_listener(int descriptor);

/// "@name" is the name "\0name" of Linux's abstract namespace.
std::string unix_path(std::string path);

}  // namespace detail

}  // namespace cofork
