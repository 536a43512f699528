#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cofork/runtime/happy_eyeballs.hpp>
#include <cofork/runtime/lookup.hpp>
#include <cofork/runtime/sleep.hpp>
#include <cofork/runtime/stream_connect.hpp>
#include <system_error>
#include <vector>

namespace cofork::detail {

namespace {

// There is no telling when a Unix socket whose queue of peers is full has room again.
constexpr std::chrono::milliseconds pause_while_queue_is_full{5};

/// Until the socket is connected, or has failed.
class [[nodiscard("co_await it")]] Connecting final : public IoOperation {
 public:
  explicit Connecting(StreamState & stream) noexcept : stream_(stream) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    Context* const context = context_of(handle);
    if (context && context->cancelled()) return false;
    Waiter::suspend(handle, context, "a connection", &IoOperation::on_cancel);
    stream_.poll().wait(*this, stream_.descriptor(), DescriptorPoll::For::writing);
    return true;
  }
  void await_resume() const {
    if (!over_) throw CancelledError();
  }

 private:
  bool attempt() noexcept override { return over_ = true; }
  StreamState& stream_;
  bool over_ = false;
};

}  // namespace

Task<StreamPtr> connect_once(const SocketAddress& address, const std::string& name) {
  const StreamPtr stream = make_intrusive<StreamState>(stream_socket_for(address), name, StreamState::Kind::socket);
  int error = ::connect(stream->descriptor(), address.get(), address.size) < 0 ? errno : 0;
  if (error == EAGAIN && address.family() == AF_UNIX) co_return StreamPtr();
  if (error == EINPROGRESS || error == EINTR) {
    co_await Connecting(*stream);
    socklen_t size = sizeof error;
    if (::getsockopt(stream->descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
  }
  if (error != 0) stream->fail(error, "connect to");
  const int on = 1;
  // It fails if the peer is gone again, which the first use will tell.
  if (address.family() != AF_UNIX)
    static_cast<void>(::setsockopt(stream->descriptor(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  co_return stream;
}

Task<StreamPtr> connect_tcp_stream(std::string host, std::uint16_t port) {
  const std::string name = host + ':' + std::to_string(port);
  const std::vector<SocketAddress> addresses = co_await Lookup(host, port, SOCK_STREAM);
  StreamPtr stream = co_await connect_to_first(interleaved(addresses), name);
  co_return stream;
}

Task<StreamPtr> connect_unix_stream(std::string path) {
  const SocketAddress address = SocketAddress::unix_domain(path);
  const std::string name = readable_path(path);
  while (true) {
    StreamPtr stream = co_await connect_once(address, name);
    if (stream) co_return stream;
    co_await sleep(pause_while_queue_is_full);
  }
}

}  // namespace cofork::detail
