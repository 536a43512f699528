#include <poll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cofork/ipc/connect.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/lookup.hpp>
#include <cofork/runtime/sleep.hpp>
#include <system_error>
#include <thread>

namespace cofork::detail {

namespace {

// There is no telling when a Unix socket whose queue of peers is full has room again.
constexpr std::chrono::milliseconds pause_while_queue_is_full{5};

/// One attempt to connect to one address, step by step.
class Attempt {
 public:
  enum class Next { connected, wait_for_socket, try_again_later };

  Attempt(const SocketAddress& address, std::string name)
      : address_(address), name_(std::move(name)), socket_(stream_socket_for(address)) {}

  /// Throws std::system_error.
  Next begin() {
    while (true) {
      if (::connect(socket_.get(), address_.get(), address_.size) == 0) return Next::connected;
      switch (errno) {
        case EINTR:
          continue;
        case EISCONN:
          return Next::connected;
        case EINPROGRESS:
        case EALREADY:
          return Next::wait_for_socket;
        case EAGAIN:
          if (address_.family() == AF_UNIX) return Next::try_again_later;
          [[fallthrough]];
        default:
          fail(errno);
      }
    }
  }
  /// When the socket is writable.
  void finish() const {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    if (error != 0) fail(error);
  }

  int descriptor() const noexcept { return socket_.get(); }
  ipc::Descriptor take_socket() noexcept { return std::move(socket_); }

 private:
  [[noreturn]] void fail(int error) const {
    throw std::system_error(error, std::generic_category(), "connect " + name_);
  }

  const SocketAddress& address_;
  std::string name_;
  ipc::Descriptor socket_;
};

std::string name_of(const std::string& host, std::uint16_t port) { return host + ':' + std::to_string(port); }

/// Without a key.
ConnectionPtr greet(ipc::Descriptor socket) {
  send_plain_greeting(socket.get());
  return make_stream_connection(std::move(socket));
}

Task<ipc::Descriptor> connect_to(const SocketAddress& address, std::string name) {
  Attempt attempt(address, std::move(name));
  Attempt::Next next = attempt.begin();
  while (next == Attempt::Next::try_again_later) {
    co_await sleep(pause_while_queue_is_full);
    next = attempt.begin();
  }
  if (next == Attempt::Next::wait_for_socket) {
    const LocalWatch watch(attempt.descriptor());
    co_await ReadyAwaiter(*watch, ReadyAwaiter::For::writing);
    attempt.finish();
  }
  co_return attempt.take_socket();
}

ipc::Descriptor blocking_connect_to(const SocketAddress& address, std::string name) {
  Attempt attempt(address, std::move(name));
  Attempt::Next next = attempt.begin();
  while (next == Attempt::Next::try_again_later) {
    std::this_thread::sleep_for(pause_while_queue_is_full);
    next = attempt.begin();
  }
  if (next == Attempt::Next::wait_for_socket) {
    std::array<pollfd, 1> watched = {{{attempt.descriptor(), POLLOUT, 0}}};
    poll_until(watched, std::nullopt);
    attempt.finish();
  }
  return attempt.take_socket();
}

Task<ConnectionPtr> authenticate(ipc::Descriptor socket, AuthenticationKey key) {
  if (!key) co_return greet(std::move(socket));
  Handshake handshake(std::move(socket), Handshake::Role::client, key);
  if (handshake.step() == Handshake::State::reading) {
    const LocalWatch watch(handshake.descriptor());
    while (handshake.step() == Handshake::State::reading) {
      const bool in_time = co_await ReadyAwaiter(*watch, ReadyAwaiter::For::taking, handshake.deadline());
      if (!in_time) handshake.fail_for_time();
    }
  }
  co_return make_stream_connection(handshake.take_socket());
}

ConnectionPtr blocking_authenticate(ipc::Descriptor socket, const AuthenticationKey& key) {
  if (!key) return greet(std::move(socket));
  Handshake handshake(std::move(socket), Handshake::Role::client, key);
  while (handshake.step() == Handshake::State::reading) {
    std::array<pollfd, 1> watched = {{{handshake.descriptor(), POLLIN, 0}}};
    if (!poll_until(watched, handshake.deadline())) handshake.fail_for_time();
  }
  return make_stream_connection(handshake.take_socket());
}

}  // namespace

Task<ConnectionPtr> connect_unix(std::string path, AuthenticationKey key) {
  const SocketAddress address = SocketAddress::unix_domain(path);
  waiting_for_others();
  ipc::Descriptor socket = co_await connect_to(address, readable_path(path));
  co_return co_await authenticate(std::move(socket), std::move(key));
}

ConnectionPtr blocking_connect_unix(const std::string& path, const AuthenticationKey& key) {
  waiting_for_others();
  return blocking_authenticate(blocking_connect_to(SocketAddress::unix_domain(path), readable_path(path)), key);
}

Task<ConnectionPtr> connect_tcp(std::string host, std::uint16_t port, AuthenticationKey key) {
  waiting_for_others();
  const std::vector<SocketAddress> addresses = co_await Lookup(host, port, SOCK_STREAM);
  ipc::Descriptor socket;
  for (std::size_t i = 0; !socket.valid() && i < addresses.size(); ++i) {
    try {
      socket = co_await connect_to(addresses[i], name_of(host, port));
    } catch (const std::system_error&) {
      if (i + 1 == addresses.size()) throw;
    }
  }
  co_return co_await authenticate(std::move(socket), std::move(key));
}

ConnectionPtr blocking_connect_tcp(const std::string& host, std::uint16_t port, const AuthenticationKey& key) {
  waiting_for_others();
  std::vector<SocketAddress> addresses = find_addresses(host, port, false, true);
  if (addresses.empty()) addresses = find_addresses(host, port, false, false);
  ipc::Descriptor socket;
  for (std::size_t i = 0; !socket.valid() && i < addresses.size(); ++i) {
    try {
      socket = blocking_connect_to(addresses[i], name_of(host, port));
    } catch (const std::system_error&) {
      if (i + 1 == addresses.size()) throw;
    }
  }
  return blocking_authenticate(std::move(socket), key);
}

}  // namespace cofork::detail
