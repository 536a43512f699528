// Messages as packets of a SOCK_SEQPACKET socket.
#pragma once

#include <cofork/ipc/message_socket.hpp>

namespace cofork::detail {

/// A message is one packet, sent and received by one system call: whoever is killed when, no message is ever torn,
/// merged or mixed with another one, and any number of processes may share each end.
class PacketSocket final : public MessageSocket {
 public:
  /// Both ends of a new socket pair. Throws std::system_error.
  static std::pair<std::unique_ptr<PacketSocket>, std::unique_ptr<PacketSocket>> create_pair();
  /// One that came from another process. Throws DecodeError unless it is such a socket.
  static std::unique_ptr<PacketSocket> received(ipc::Descriptor socket);

  std::size_t in_line_limit() const noexcept override { return in_line_limit_; }
  Sent try_send(OutgoingMessagePtr& message) override;
  Received try_receive(IncomingMessage& message) override;
  bool something_arrived() override;
  std::uint8_t kind() const noexcept override { return packets; }
  static constexpr std::uint8_t packets = 0;

 private:
  explicit PacketSocket(ipc::Descriptor socket);

  std::size_t in_line_limit_;
};

}  // namespace cofork::detail
