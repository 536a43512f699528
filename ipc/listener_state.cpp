#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/listener_state.hpp>
#include <cofork/ipc/stream_socket.hpp>
#include <cofork/runtime/accept.hpp>
#include <cofork/runtime/errors.hpp>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {

// More peers than that, all at their handshakes, are not waited for: the oldest makes room.
constexpr std::size_t most_handshakes = 256;
constexpr std::chrono::milliseconds head_start{5};

[[noreturn]] void throw_errno(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

int domain_of(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 ? domain : -1;
}

void bind_and_listen(const ipc::Descriptor& socket, const SocketAddress& address, const std::string& name) {
  if (::bind(socket.get(), address.get(), address.size) < 0) throw_errno("bind " + name);
  if (::listen(socket.get(), SOMAXCONN) < 0) throw_errno("listen " + name);
}

}  // namespace

ConnectionPtr make_stream_connection(ipc::Descriptor socket) {
  const bool is_unix = domain_of(socket.get()) == AF_UNIX;
  const int on = 1;
  if (!is_unix && ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 && errno != EINVAL)
    throw_errno("setsockopt of a connection");  // EINVAL: the peer is gone already
  auto stream = std::make_unique<StreamSocket>(
      std::move(socket), is_unix ? StreamSocket::Family::unix_domain : StreamSocket::Family::internet);
  return make_intrusive<ConnectionState>(std::move(stream), EndLine(), true, true);
}

ListenerState::ListenerState(ipc::Descriptor socket, AuthenticationKey key)
    : HandleState("listener"), socket_(std::move(socket)), key_(std::move(key)), generation_(fork_generation()) {}

IntrusivePtr<ListenerState> ListenerState::bind_unix(const std::string& path, AuthenticationKey key) {
  const SocketAddress address = SocketAddress::unix_domain(path);
  ipc::Descriptor socket = stream_socket_for(address);
  bind_and_listen(socket, address, readable_path(path));
  auto listener = make_intrusive<ListenerState>(std::move(socket), std::move(key));
  if (path.front() != '\0') listener->file_ = SocketFile::at(path);
  return listener;
}

IntrusivePtr<ListenerState> ListenerState::bind_tcp(const std::string& host, std::uint16_t port,
                                                    AuthenticationKey key) {
  const std::vector<SocketAddress> addresses = find_addresses(host, port, true, false);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    try {
      ipc::Descriptor socket = stream_socket_for(addresses[i]);
      const int on = 1;
      if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) throw_errno("setsockopt");
      bind_and_listen(socket, addresses[i], host + ':' + std::to_string(port));
      return make_intrusive<ListenerState>(std::move(socket), std::move(key));
    } catch (const std::system_error&) {
      if (i + 1 == addresses.size()) throw;
    }
  }
  throw std::system_error(EADDRNOTAVAIL, std::generic_category(), "bind " + host);
}

ListenerState::~ListenerState() { close(); }

void ListenerState::close() noexcept {
  handshakes_.clear();
  struct Open {
    ipc::Descriptor socket, epoll;
  };
  const auto keep_open = std::make_shared<Open>();
  keep_open->socket = std::move(socket_);
  keep_open->epoll = std::move(epoll_);
  watches_.close(keep_open);
}

/// In a copy that an unknown fork made: the handshakes are the other process's.
void ListenerState::leave_other_process_alone() noexcept {
  if (generation_ == fork_generation()) return;
  generation_ = fork_generation();
  handshakes_.clear();
  epoll_.reset();
  socket_watched_ = false;
}

ipc::Descriptor ListenerState::accept_socket() {
  while (true) {
    ipc::Descriptor socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) return socket;
    if (errno == EAGAIN) return socket;
    if (!peer_has_gone(errno)) throw_errno("accept");
  }
}

ConnectionPtr ListenerState::try_accept() {
  check_given();
  const std::lock_guard lock(mutex_);
  leave_other_process_alone();
  ConnectionPtr connection = continue_handshakes();
  if (!connection && may_begin()) connection = begin_handshake();
  return connection;
}

bool ListenerState::may_begin() const noexcept {
  return handshakes_.empty() || handshakes_.back().begin() + head_start <= Clock::now();
}

ConnectionPtr ListenerState::continue_handshakes() {
  for (auto at = handshakes_.begin(); at != handshakes_.end(); ++at) {
    try {
      if (at->step() == Handshake::State::reading) {
        if (at->deadline() <= Clock::now()) at->fail_for_time();
        continue;
      }
    } catch (const AuthenticationError&) {
      handshakes_.erase(at);
      throw;
    }
    // One at a time: the others' sockets stay readable for whoever else waits.
    ipc::Descriptor socket = at->take_socket();
    handshakes_.erase(at);
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket.get(), nullptr) < 0) throw_errno("epoll_ctl of a listener");
    return make_stream_connection(std::move(socket));
  }
  return ConnectionPtr();
}

ConnectionPtr ListenerState::begin_handshake() {
  ipc::Descriptor socket = accept_socket();
  if (!socket.valid()) return ConnectionPtr();
  const int number = socket.get();
  Handshake& handshake = handshakes_.emplace_back(std::move(socket), Handshake::Role::listener, key_);
  try {
    if (handshake.step() == Handshake::State::done) {
      ipc::Descriptor connected = handshake.take_socket();
      handshakes_.pop_back();
      return make_stream_connection(std::move(connected));
    }
    waiting_descriptor();
    epoll_event event = {};
    event.events = EPOLLIN;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, number, &event) < 0) throw_errno("epoll_ctl of a listener");
  } catch (...) {
    handshakes_.pop_back();
    throw;
  }
  if (handshakes_.size() > most_handshakes) {
    handshakes_.pop_front();
    throw AuthenticationError("authentication failed: too many peers are at it");
  }
  return ConnectionPtr();
}

int ListenerState::waiting_descriptor() {
  if (!epoll_.valid()) {
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) throw_errno("epoll_create1 of a listener");
    socket_watched_ = false;
  }
  watch_socket(may_begin());
  return epoll_.get();
}

void ListenerState::watch_socket(bool watched) {
  if (watched == socket_watched_) return;
  epoll_event event = {};
  event.events = EPOLLIN;
  if (::epoll_ctl(epoll_.get(), watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, socket_.get(), &event) < 0)
    throw_errno("epoll_ctl of a listener");
  socket_watched_ = watched;
}

int ListenerState::descriptor() {
  const std::lock_guard lock(mutex_);
  return waiting_descriptor();
}

SocketWatch& ListenerState::watch() {
  const std::lock_guard lock(mutex_);
  return watches_.here(waiting_descriptor(), -1);
}

std::optional<Clock::time_point> ListenerState::deadline() const {
  const std::lock_guard lock(mutex_);
  if (handshakes_.empty()) return std::nullopt;
  return socket_watched_ ? handshakes_.front().deadline() : handshakes_.back().begin() + head_start;
}

int ListenerState::native_handle() const {
  check_given();
  return socket_.get();
}

std::uint16_t ListenerState::port() const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getsockname(native_handle(), reinterpret_cast<sockaddr*>(&address), &size) < 0) throw_errno("getsockname");
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return 0;
}

void ListenerState::encode(ipc::Writer& writer) {
  check_given();
  writer.descriptor(socket_.get());
  ipc::encode(writer, key_);
}

ListenerPtr ListenerState::decode(ipc::Reader& reader) {
  ipc::Descriptor socket = reader.descriptor();
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || listens == 0)
    throw DecodeError("malformed message: not a listener's socket");
  return make_intrusive<ListenerState>(std::move(socket), ipc::decode<AuthenticationKey>(reader));
}

void ListenerState::list_descriptors(std::vector<int>& to) const {
  if (given()) to.push_back(socket_.get());
}

void ListenerState::before_fork() {
  check_given();
  mutex_.lock();
}

void ListenerState::after_fork_in_child(bool given) noexcept {
  // The parent's, and closed here already.
  for (Handshake& handshake : handshakes_) {
    ipc::Descriptor socket = handshake.take_socket();
    static_cast<void>(socket.release());
  }
  static_cast<void>(epoll_.release());
  socket_watched_ = false;
  watches_.close(nullptr);
  if (given) {
    handshakes_.clear();
    generation_ = fork_generation();
    mutex_.unlock();
  } else {
    static_cast<void>(socket_.release());
  }
}

void ListenerState::leave() noexcept {
  const std::lock_guard lock(mutex_);
  try {
    if (epoll_.valid()) watch_socket(true);
  } catch (const std::system_error&) {
    // Those who wait look again when a handshake's time is over.
  }
}

namespace {
/// Whoever else waits is told of new peers again when this one does not wait any more.
class Accepting {
 public:
  explicit Accepting(ListenerState& listener) noexcept : listener_(listener) {}
  Accepting(const Accepting&) = delete;
  Accepting& operator=(const Accepting&) = delete;
  ~Accepting() { listener_.leave(); }

 private:
  ListenerState& listener_;
};
}  // namespace

Task<ConnectionPtr> accept_connection(ListenerPtr listener) {
  const Accepting accepting(*listener);
  while (true) {
    ConnectionPtr connection = listener->try_accept();
    if (connection) co_return connection;
    waiting_for_others();
    SocketWatch& watch = listener->watch();
    co_await ReadyAwaiter(watch, ReadyAwaiter::For::looking, listener->deadline());
  }
}

ConnectionPtr blocking_accept_connection(ListenerState& listener) {
  const Accepting accepting(listener);
  while (true) {
    ConnectionPtr connection = listener.try_accept();
    if (connection) return connection;
    waiting_for_others();
    std::array<pollfd, 1> watched = {{{listener.descriptor(), POLLIN, 0}}};
    poll_until(watched, listener.deadline());
  }
}

}  // namespace cofork::detail
