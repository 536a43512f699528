// Streams, listeners and datagram sockets in messages and as arguments of pool tasks.
#pragma once

#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/runtime/byte_stream.hpp>
#include <cofork/runtime/tcp.hpp>
#include <cofork/runtime/udp_socket.hpp>
#include <cofork/runtime/unix_socket.hpp>
#include <concepts>
#include <utility>

namespace cofork {

namespace detail {

/// A duplicate of the descriptor, and what was read ahead. std::logic_error while something waits for the stream.
void encode_stream(ipc::Writer& writer, const ByteStream& stream);
StreamPtr decode_stream(ipc::Reader& reader);

}  // namespace detail

/// The receiver's stream is of the same connection. The sender's stays as it is, and both would take one another's
/// bytes: close it once it is sent, or move it into `Process`, `Queue::put` or a pool's `submit`, which close what they
/// took.
template <std::derived_from<ByteStream> Stream>
struct Codec<Stream> : detail::OwnCodec<> {
  static void encode(ipc::Writer& writer, const Stream& stream) { detail::encode_stream(writer, stream); }
  static Stream decode(ipc::Reader& reader) { return Stream(detail::decode_stream(reader)); }
};

/// The receiver accepts, or receives, beside the sender.
template <class Socket>
requires std::same_as<Socket, TcpListener> || std::same_as<Socket, UdpSocket>
struct Codec<Socket> : detail::OwnCodec<> {
  static void encode(ipc::Writer& writer, const Socket& socket) { writer.descriptor(socket.native_handle()); }
  static Socket decode(ipc::Reader& reader) {
    ipc::Descriptor descriptor = reader.descriptor();
    return Socket::adopt(descriptor.release());
  }
};

/// Likewise; the socket's file is the receiver's to remove.
template <>
struct Codec<UnixListener> : detail::OwnCodec<> {
  static void encode(ipc::Writer& writer, const UnixListener& listener);
  static UnixListener decode(ipc::Reader& reader);
};

}  // namespace cofork
