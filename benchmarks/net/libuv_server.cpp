// libuv's callbacks: uv_try_write first, uv_write for the rest.
#include <uv.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "servers.hpp"

namespace bench {

namespace {

std::size_t buffer_size;

struct Client {
  uv_tcp_t tcp;
  std::vector<char> buffer = std::vector<char>(buffer_size);
};

struct Rest {
  uv_write_t request;
  std::vector<char> bytes;
};

void check(int status) {
  if (status < 0) throw std::runtime_error(uv_strerror(status));
}

void close(Client* client) {
  uv_close(reinterpret_cast<uv_handle_t*>(&client->tcp),
           [](uv_handle_t* handle) { delete static_cast<Client*>(handle->data); });
}

void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
  if (size == 0) return;
  auto* const client = static_cast<Client*>(stream->data);
  if (size < 0) return close(client);
  uv_buf_t bytes = uv_buf_init(buffer->base, static_cast<unsigned>(size));
  const int written = uv_try_write(stream, &bytes, 1);
  if (written == size) return;
  if (written < 0 && written != UV_EAGAIN) return close(client);
  auto rest = std::make_unique<Rest>();
  rest->bytes.assign(buffer->base + (written > 0 ? written : 0), buffer->base + size);
  rest->request.data = rest.get();
  uv_buf_t left = uv_buf_init(rest->bytes.data(), static_cast<unsigned>(rest->bytes.size()));
  check(uv_write(&rest.release()->request, stream, &left, 1,
                 [](uv_write_t* request, int) { delete static_cast<Rest*>(request->data); }));
}

void on_connection(uv_stream_t* listener, int status) {
  check(status);
  auto client = std::make_unique<Client>();
  check(uv_tcp_init(listener->loop, &client->tcp));
  client->tcp.data = client.get();
  auto* const stream = reinterpret_cast<uv_stream_t*>(&client->tcp);
  check(uv_accept(listener, stream));
  check(uv_tcp_nodelay(&client->tcp, 1));
  check(uv_read_start(
      stream,
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto& memory = static_cast<Client*>(handle->data)->buffer;
        *buffer = uv_buf_init(memory.data(), static_cast<unsigned>(memory.size()));
      },
      on_read));
  static_cast<void>(client.release());
}

}  // namespace

void serve_with_libuv(int listener, std::size_t buffer) {
  buffer_size = buffer;
  uv_loop_t loop;
  check(uv_loop_init(&loop));
  uv_tcp_t tcp;
  check(uv_tcp_init(&loop, &tcp));
  check(uv_tcp_open(&tcp, listener));
  check(uv_listen(reinterpret_cast<uv_stream_t*>(&tcp), 4096, on_connection));
  uv_run(&loop, UV_RUN_DEFAULT);
}

}  // namespace bench
