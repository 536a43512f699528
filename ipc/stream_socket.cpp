#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cofork/ipc/descriptor_passing.hpp>
#include <cofork/ipc/stream_socket.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <system_error>

namespace cofork::detail {

namespace {
// Memory for a message that is announced is taken as it arrives, beginning with so much.
constexpr std::size_t first_memory = std::size_t{64} << 10;
}  // namespace

std::unique_ptr<StreamSocket> StreamSocket::received(std::uint8_t kind, ipc::Descriptor socket) {
  int domain = 0, type = 0;
  socklen_t size = sizeof domain;
  const bool known = ::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
                     ::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
  const Family family = kind == first_kind ? Family::unix_domain : Family::internet;
  if (!known || (domain == AF_UNIX) != (family == Family::unix_domain))
    throw DecodeError("malformed message: not a connection's socket");
  return std::make_unique<StreamSocket>(std::move(socket), family);
}

std::uint8_t StreamSocket::kind() const noexcept {
  return static_cast<std::uint8_t>(first_kind + (family_ == Family::internet ? 1 : 0));
}

std::size_t StreamSocket::in_line_limit() const noexcept { return std::numeric_limits<std::size_t>::max() / 4; }

MessageSocket::Sent StreamSocket::try_send(OutgoingMessagePtr& message) {
  if (!message->numbers().empty() && family_ == Family::internet)
    throw std::invalid_argument("a message with descriptors cannot be sent over TCP");
  if (broken_) return Sent::closed;
  if (const Sent sent = flush(); sent != Sent::done) return sent;
  const ipc::Transfer transfer = ipc::send_with_descriptors(descriptor(), message->frame(), message->numbers());
  if (transfer.outcome == ipc::Transfer::Outcome::would_block) return Sent::would_block;
  if (transfer.outcome == ipc::Transfer::Outcome::closed) return Sent::closed;
  if (transfer.bytes == message->frame().size()) return Sent::done;
  unsent_ = std::move(message);
  sent_of_it_ = transfer.bytes;
  return Sent::begun;
}

MessageSocket::Sent StreamSocket::flush() {
  while (unsent_) {
    const ipc::Transfer transfer =
        ipc::send_with_descriptors(descriptor(), unsent_->frame().subspan(sent_of_it_), std::span<const int>());
    if (transfer.outcome == ipc::Transfer::Outcome::would_block) return Sent::would_block;
    if (transfer.outcome == ipc::Transfer::Outcome::closed) {
      unsent_.reset();
      return Sent::closed;
    }
    sent_of_it_ += transfer.bytes;
    if (sent_of_it_ == unsent_->frame().size()) unsent_.reset();
  }
  return Sent::done;
}

void StreamSocket::fail(std::string why, bool authentication) {
  broken_ = std::move(why);
  not_authentic_ = authentication;
  body_ = MessageBlock();
  descriptors_.clear();
  // So that the peer learns of it, even while other processes still have the socket.
  static_cast<void>(::shutdown(descriptor(), SHUT_RDWR));
  throw_if_broken();
  std::abort();
}

void StreamSocket::throw_if_broken() const {
  if (!broken_) return;
  if (not_authentic_) throw AuthenticationError(*broken_);
  throw DecodeError(*broken_);
}

MessageSocket::Received StreamSocket::read_some(std::byte* to, std::size_t size, std::size_t& count) {
  ipc::ReceivedDescriptors received;
  const ipc::Transfer transfer = ipc::receive_with_descriptors(descriptor(), {to, size}, received);
  if (received.lost || !received.descriptors.empty()) {
    // All of a message's descriptors come with its first byte.
    if (amid_message()) fail("malformed message: a descriptor that does not belong to it");
    descriptors_ = std::move(received.descriptors);
    descriptors_lost_ = received.lost;
  }
  if (transfer.outcome == ipc::Transfer::Outcome::would_block) return Received::nothing;
  if (transfer.outcome == ipc::Transfer::Outcome::closed) {
    if (amid_message()) fail("truncated message: the stream ended in the middle of it");
    return Received::ended;
  }
  count += transfer.bytes;
  return Received::done;
}

MessageSocket::Received StreamSocket::read_header() {
  while (header_read_ < sizeof header_) {
    const Received received =
        read_some(reinterpret_cast<std::byte*>(&header_) + header_read_, sizeof header_ - header_read_, header_read_);
    if (received != Received::done) return received;
  }
  return Received::done;
}

MessageSocket::Received StreamSocket::read_body() {
  if (!body_begun_) {
    // A listener with a key begins with a challenge; who has no key learns it from that.
    if (header_.magic == MessageHeader::right_magic && header_.kind == MessageHeader::greeting)
      fail("authentication failed: the peer wants a key, and this side has none", true);
    try {
      header_.check();
    } catch (const DecodeError& error) {
      fail(error.what());
    }
    if (header_.kind != MessageHeader::in_line || header_.size > in_line_limit())
      fail("malformed message: of an impossible length");
    if (!descriptors_lost_ && descriptors_.size() != header_.descriptors)
      fail("malformed message: a descriptor did not come with it");
    body_begun_ = true;
    body_read_ = 0;
    body_ = MessageBlock(std::min<std::size_t>(header_.size, first_memory));
  }
  while (body_read_ < header_.size) {
    if (body_read_ == body_.capacity()) {
      MessageBlock larger(std::min<std::size_t>(header_.size, 2 * body_.capacity()));
      std::memcpy(larger.data(), body_.data(), body_read_);
      body_ = std::move(larger);
    }
    const std::size_t room = std::min<std::size_t>(header_.size, body_.capacity()) - body_read_;
    const Received received = read_some(body_.data() + body_read_, room, body_read_);
    if (received != Received::done) return received;
  }
  return Received::done;
}

MessageSocket::Received StreamSocket::try_receive(IncomingMessage& message) {
  throw_if_broken();
  Received received = read_header();
  if (received == Received::done) received = read_body();
  if (received != Received::done) return received;
  header_read_ = 0;
  body_begun_ = false;
  const bool lost = std::exchange(descriptors_lost_, false);
  std::vector<ipc::Descriptor> descriptors = std::exchange(descriptors_, {});
  MessageBlock body = std::move(body_);
  if (lost) throw std::system_error(EMFILE, std::generic_category(), "receiving a message's descriptors");
  message.set(std::move(body), static_cast<std::size_t>(header_.size), std::move(descriptors));
  return Received::done;
}

bool StreamSocket::something_arrived() {
  pollfd watched = {descriptor(), POLLIN, 0};
  return broken_ || ::poll(&watched, 1, 0) == 1;
}

void StreamSocket::require_between_messages() const {
  if (amid_message() || unsent_)
    throw std::logic_error("this connection is in the middle of a message: it cannot be given to another process now");
}

}  // namespace cofork::detail
