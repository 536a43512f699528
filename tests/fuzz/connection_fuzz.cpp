// What a hostile peer sends over a connection. The first byte chooses the socket: then follow packets, or pieces of a
// stream, each with its length and the number of descriptors beside it.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cofork/ipc/connection.hpp>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/packet_socket.hpp>
#include <cofork/ipc/stream_socket.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

using namespace cofork;
using namespace cofork::ipc;

namespace {

using Message = std::variant<std::string, std::vector<std::pair<int, std::optional<std::string>>>, Connection<int>,
                             std::vector<Descriptor>>;

/// What can lie beside a message: a file that is fit for one, one that is not, a socket, and the null device.
struct Descriptors {
  MemoryFile sealed = MemoryFile::create("fuzz", 4096);
  MemoryFile unsealed = MemoryFile::create("fuzz", 4096);
  std::array<Descriptor, 2> sockets;

  Descriptors() {
    sealed.seal_size();
    std::array<int, 2> ends = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    sockets[0].reset(ends[0]);
    sockets[1].reset(ends[1]);
  }
  std::vector<int> choose(unsigned bits) const {
    const std::array all = {sealed.descriptor(), unsealed.descriptor(), sockets[0].get(), 0};
    std::vector<int> chosen;
    for (std::size_t i = 0; i < all.size(); ++i)
      if ((bits >> i & 1) != 0) chosen.push_back(all[i]);
    return chosen;
  }
};

/// False when the connection is of no use any more.
bool receive(const Connection<Message>& connection) {
  try {
    if (!connection.blocking_poll()) return false;
    static_cast<void>(connection.blocking_recv());
    return true;
  } catch (const DecodeError&) {
  } catch (const AuthenticationError&) {
  } catch (const EndOfFile&) {
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Descriptors descriptors;
  if (size == 0) return 0;
  const bool stream = (data[0] & 1) != 0;
  std::span<const std::uint8_t> left(data + 1, size - 1);
  std::array<int, 2> ends = {-1, -1};
  const int type = (stream ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  if (::socketpair(AF_UNIX, type, 0, ends.data()) != 0) std::abort();
  Descriptor peer(ends[0]), socket(ends[1]);
  std::unique_ptr<cofork::detail::MessageSocket> message_socket;
  if (stream)
    message_socket =
        cofork::detail::StreamSocket::received(cofork::detail::StreamSocket::first_kind, std::move(socket));
  else
    message_socket = cofork::detail::PacketSocket::received(std::move(socket));
  const Connection<Message> connection(cofork::detail::make_intrusive<cofork::detail::ConnectionState>(
      std::move(message_socket), cofork::detail::EndLine(), true, true));
  while (left.size() >= 2) {
    const std::size_t length = std::min<std::size_t>(left[0], left.size() - 2);
    const std::vector<int> beside = descriptors.choose(left[1]);
    const auto piece = std::as_bytes(left.subspan(2, length));
    left = left.subspan(2 + length);
    if (piece.empty()) continue;
    try {
      if (!send_with_descriptors(peer.get(), piece, beside)) break;
    } catch (const std::system_error&) {
      break;
    }
    // A stream that stops in the middle of a message would be waited for.
    if (!stream) receive(connection);
  }
  peer.reset();
  for (int i = 0; i < 100 && receive(connection); ++i) {
  }
  return 0;
}
