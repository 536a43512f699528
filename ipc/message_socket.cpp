#include <cofork/ipc/packet_socket.hpp>
#include <cofork/ipc/stream_socket.hpp>
#include <cofork/runtime/errors.hpp>

namespace cofork::detail {

std::unique_ptr<MessageSocket> MessageSocket::received(std::uint8_t kind, ipc::Descriptor socket) {
  if (kind == PacketSocket::packets) return PacketSocket::received(std::move(socket));
  if (StreamSocket::is_kind(kind)) return StreamSocket::received(kind, std::move(socket));
  throw DecodeError("malformed message: an unknown kind of connection");
}

}  // namespace cofork::detail
