#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/ipc/packet_socket.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <memory>
#include <system_error>

namespace cofork::detail {

namespace {

// Room for a few of the longest packets, and for some hundred small messages.
constexpr int send_buffer = 2 * static_cast<int>(largest_packet);

[[noreturn]] void throw_errno(const char* operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

int socket_option(int socket, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(socket, SOL_SOCKET, option, &value, &size) < 0) throw_errno("getsockopt of a connection");
  return value;
}

/// The packets' memory is the sender's until they are read; it takes privilege to have more than the system's limit.
void enlarge_send_buffer(int socket) {
  if (::setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer, sizeof send_buffer) == 0) return;
  if (::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) < 0)
    throw_errno("setsockopt of a connection");
}

/// A packet for a message in a file takes as much room in the socket's buffer as a sixteenth of the message would, so
/// that a reader who lags behind holds up the sender of long messages, too.
constexpr std::size_t file_bytes_per_byte_of_buffer = 16;
std::array<std::byte, 16 * 1024> zeros;

ssize_t send_packet(int socket, const OutgoingMessage& message, std::size_t padding) {
  std::array<iovec, 1 + largest_packet / zeros.size()> parts;
  const std::span<const std::byte> frame = message.frame();
  std::size_t count = 0;
  parts[count++] = {const_cast<std::byte*>(frame.data()), frame.size()};
  for (; padding > 0 && count < parts.size(); ++count) {
    const std::size_t size = std::min(padding, zeros.size());
    parts[count] = {zeros.data(), size};
    padding -= size;
  }
  msghdr header = {};
  header.msg_iov = parts.data();
  header.msg_iovlen = count;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * ipc::max_descriptors_per_message)];
  if (const std::span<const int> numbers = message.numbers(); !numbers.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(numbers.size_bytes());
    std::memset(control, 0, header.msg_controllen);
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(numbers.size_bytes());
    std::memcpy(CMSG_DATA(rights), numbers.data(), numbers.size_bytes());
  }
  while (true) {
    const ssize_t sent = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || errno != EINTR) return sent;
  }
}

}  // namespace

PacketSocket::PacketSocket(ipc::Descriptor socket) : MessageSocket(std::move(socket)) {
  const int buffer = socket_option(descriptor(), SO_SNDBUF);
  in_line_limit_ = std::min(largest_packet, static_cast<std::size_t>(buffer) / 4);
}

std::pair<std::unique_ptr<PacketSocket>, std::unique_ptr<PacketSocket>> PacketSocket::create_pair() {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) < 0)
    throw_errno("socketpair for a pipe");
  ipc::Descriptor first(ends[0]), second(ends[1]);
  enlarge_send_buffer(first.get());
  enlarge_send_buffer(second.get());
  return {std::unique_ptr<PacketSocket>(new PacketSocket(std::move(first))),
          std::unique_ptr<PacketSocket>(new PacketSocket(std::move(second)))};
}

std::unique_ptr<PacketSocket> PacketSocket::received(ipc::Descriptor socket) {
  try {
    if (socket_option(socket.get(), SO_DOMAIN) == AF_UNIX && socket_option(socket.get(), SO_TYPE) == SOCK_SEQPACKET)
      return std::unique_ptr<PacketSocket>(new PacketSocket(std::move(socket)));
  } catch (const std::system_error&) {
  }
  throw DecodeError("malformed message: not a connection's socket");
}

MessageSocket::Sent PacketSocket::try_send(OutgoingMessagePtr& message) {
  while (true) {
    const std::size_t padding =
        message->in_file() ? std::min(message->size() / file_bytes_per_byte_of_buffer, in_line_limit_) : 0;
    if (send_packet(descriptor(), *message, padding) >= 0) {
      message->sent();
      return Sent::done;
    }
    switch (errno) {
      case EAGAIN:
        return Sent::would_block;
      case EPIPE:
      case ECONNRESET:
        return Sent::closed;
      case ENOBUFS:
      case ENOMEM:
      case EMSGSIZE:
        // A packet is one piece of the kernel's memory, which may be in pieces too small.
        if (!message->in_file() && message->size() > zeros.size()) {
          message->put_in_file();
          continue;
        }
        [[fallthrough]];
      default:
        throw_errno("sending a message");
    }
  }
}

MessageSocket::Received PacketSocket::try_receive(IncomingMessage& message) {
  MessageBlock block(largest_packet);
  ipc::ReceivedDescriptors received;
  ipc::Transfer transfer;
  try {
    transfer =
        ipc::receive_with_descriptors(descriptor(), {block.header(), sizeof(MessageHeader) + largest_packet}, received);
  } catch (const std::system_error& error) {
    if (error.code().value() != EMSGSIZE) throw;
    throw DecodeError("malformed message: longer than a packet can be");
  }
  if (transfer.outcome == ipc::Transfer::Outcome::would_block) return Received::nothing;
  if (transfer.outcome == ipc::Transfer::Outcome::closed) return Received::ended;
  MessageHeader header;
  if (transfer.bytes < sizeof header) throw DecodeError("truncated message: without a header");
  std::memcpy(&header, block.header(), sizeof header);
  header.check();
  if (received.lost) throw std::system_error(EMFILE, std::generic_category(), "receiving a message's descriptors");
  if (header.descriptors != received.descriptors.size())
    throw DecodeError("malformed message: a descriptor did not come with it");
  if (header.kind == MessageHeader::in_file) {
    message.set_file(header.size, std::move(received.descriptors));
  } else {
    if (header.size != transfer.bytes - sizeof header) throw DecodeError("truncated message: not as long as it says");
    message.set(std::move(block), header.size, std::move(received.descriptors));
  }
  return Received::done;
}

bool PacketSocket::something_arrived() {
  pollfd watched = {descriptor(), POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1;
}

}  // namespace cofork::detail
