#include <cofork/ipc/descriptor_passing.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace cofork::ipc {
namespace {

constexpr std::size_t control_size = CMSG_SPACE(sizeof(int) * max_descriptors_per_message);

void take_descriptors(msghdr& header, ReceivedDescriptors& received) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    received.descriptors.reserve(received.descriptors.size() + count);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      received.descriptors.emplace_back(descriptor);
    }
  }
}

}  // namespace

Transfer send_with_descriptors(int socket, std::span<const std::byte> message, std::span<const int> descriptors) {
  if (descriptors.size() > max_descriptors_per_message) {
    throw std::invalid_argument("too many descriptors for one message");
  }
  iovec data = {const_cast<std::byte*>(message.data()), message.size()};
  alignas(cmsghdr) char control[control_size];
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t bytes = descriptors.size_bytes();
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(bytes);
    std::memset(control, 0, header.msg_controllen);
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(part), descriptors.data(), bytes);
  }
  while (true) {
    const ssize_t sent = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return {Transfer::Outcome::done, static_cast<std::size_t>(sent)};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {Transfer::Outcome::would_block, 0};
    if (errno == EPIPE || errno == ECONNRESET) return {Transfer::Outcome::closed, 0};
    throw std::system_error(errno, std::generic_category(), "sendmsg");
  }
}

Transfer receive_with_descriptors(int socket, std::span<std::byte> buffer, ReceivedDescriptors& received) {
  received.descriptors.clear();
  received.lost = false;
  iovec data = {buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[control_size];
  while (true) {
    msghdr header = {};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t count = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0) {
      // ECONNRESET tells, once, that the other end was closed with unread messages; ours may still be waiting.
      if (errno == EINTR || errno == ECONNRESET) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {Transfer::Outcome::would_block, 0};
      throw std::system_error(errno, std::generic_category(), "recvmsg");
    }
    take_descriptors(header, received);
    received.lost = (header.msg_flags & MSG_CTRUNC) != 0;
    if ((header.msg_flags & MSG_TRUNC) != 0) throw std::system_error(EMSGSIZE, std::generic_category(), "recvmsg");
    if (count == 0) return {Transfer::Outcome::closed, 0};
    return {Transfer::Outcome::done, static_cast<std::size_t>(count)};
  }
}

}  // namespace cofork::ipc
