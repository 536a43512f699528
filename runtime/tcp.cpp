#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cofork/runtime/stream_connect.hpp>
#include <cofork/runtime/tcp.hpp>
#include <system_error>

namespace cofork {

namespace {

void set_option(const detail::StreamState& stream, int level, int option, int value) {
  if (::setsockopt(stream.descriptor(), level, option, &value, sizeof value) < 0) stream.fail(errno, "setsockopt of");
}

Endpoint endpoint(const detail::SocketAddress& address) { return {detail::host_of(address), detail::port_of(address)}; }

template <class F>
Endpoint ask(const detail::StreamState& stream, F&& function) {
  detail::SocketAddress address;
  address.size = sizeof address.storage;
  if (function(stream.descriptor(), reinterpret_cast<sockaddr*>(&address.storage), &address.size) < 0)
    stream.fail(errno, "address of");
  return endpoint(detail::unmapped(address));
}

}  // namespace

Task<TcpStream> TcpStream::connect(std::string host, std::uint16_t port) {
  detail::StreamPtr stream = co_await detail::connect_tcp_stream(std::move(host), port);
  co_return TcpStream(std::move(stream));
}

TcpStream TcpStream::adopt(int descriptor) {
  return TcpStream(detail::make_intrusive<detail::StreamState>(
      detail::Descriptor(descriptor), "descriptor " + std::to_string(descriptor), detail::StreamState::Kind::unknown));
}

Endpoint TcpStream::local_address() const { return ask(*state(), ::getsockname); }
Endpoint TcpStream::peer_address() const { return ask(*state(), ::getpeername); }

void TcpStream::set_nodelay(bool on) { set_option(*state(), IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0); }

void TcpStream::set_keepalive(bool on, std::chrono::seconds idle, std::chrono::seconds interval, int probes) {
  const detail::StreamPtr stream = state();
  if (on) {
    set_option(*stream, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(idle.count()));
    set_option(*stream, IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(interval.count()));
    set_option(*stream, IPPROTO_TCP, TCP_KEEPCNT, probes);
  }
  set_option(*stream, SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0);
}

TcpListener TcpListener::bind(ListenOptions options, std::string host, std::uint16_t port) {
  return TcpListener(detail::listen_tcp(host, port, options));
}

TcpListener TcpListener::adopt(int descriptor) { return TcpListener(detail::adopt_listener(descriptor)); }

TcpListener& TcpListener::operator=(TcpListener&& other) noexcept {
  if (this == &other) return *this;
  close();
  HandleBase::operator=(std::move(other));
  return *this;
}

Endpoint TcpListener::local_address() const { return endpoint(state()->address()); }

void TcpListener::close() noexcept {
  detail::close_socket(handle_state());
  reset();
}

int TcpListener::release() {
  const int descriptor = state()->release();
  reset();
  return descriptor;
}

}  // namespace cofork
