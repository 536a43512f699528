#include <cofork/runtime/stream_connect.hpp>
#include <cofork/runtime/unix_socket.hpp>

namespace cofork {

Task<UnixStream> UnixStream::connect(std::string path) {
  detail::StreamPtr stream = co_await detail::connect_unix_stream(detail::unix_path(std::move(path)));
  co_return UnixStream(std::move(stream));
}

UnixStream UnixStream::adopt(int descriptor) {
  return UnixStream(detail::make_intrusive<detail::StreamState>(
      detail::Descriptor(descriptor), "descriptor " + std::to_string(descriptor), detail::StreamState::Kind::unknown));
}

UnixListener UnixListener::bind(ListenOptions options, std::string path) {
  return UnixListener(detail::listen_unix(detail::unix_path(std::move(path)), options));
}

UnixListener UnixListener::adopt(int descriptor) { return UnixListener(detail::adopt_listener(descriptor)); }

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  if (this == &other) return *this;
  close();
  HandleBase::operator=(std::move(other));
  return *this;
}

void UnixListener::close() noexcept {
  detail::close_socket(handle_state());
  reset();
}

int UnixListener::release() {
  const int descriptor = state()->release();
  reset();
  return descriptor;
}

}  // namespace cofork
