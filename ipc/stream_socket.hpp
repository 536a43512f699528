// Messages over a byte stream: a SOCK_STREAM socket, Unix or TCP.
#pragma once

#include <array>
#include <cofork/ipc/message_socket.hpp>
#include <optional>
#include <string>
#include <vector>

namespace cofork::detail {

/// Each message is a header and its bytes, and reading never goes beyond the message's end: between two messages the
/// socket can be handed to another process. A message that was begun is always completed, by this object.
class StreamSocket final : public MessageSocket {
 public:
  enum class Family { unix_domain, internet };

  StreamSocket(ipc::Descriptor socket, Family family) : MessageSocket(std::move(socket)), family_(family) {}
  static std::unique_ptr<StreamSocket> received(std::uint8_t kind, ipc::Descriptor socket);

  std::size_t in_line_limit() const noexcept override;
  Sent try_send(OutgoingMessagePtr& message) override;
  Sent flush() override;
  bool unsent() const noexcept override { return unsent_ != nullptr; }
  /// After a DecodeError or AuthenticationError the stream is of no use any more: it is shut down, and the error is
  /// thrown again.
  Received try_receive(IncomingMessage& message) override;
  bool something_arrived() override;
  std::uint8_t kind() const noexcept override;
  void require_between_messages() const override;

  static constexpr std::uint8_t first_kind = 1;
  static bool is_kind(std::uint8_t kind) noexcept { return kind == first_kind || kind == first_kind + 1; }

 private:
  Received read_header();
  Received read_body();
  /// Up to `size` more bytes, and what comes beside them.
  Received read_some(std::byte* to, std::size_t size, std::size_t& count);
  [[noreturn]] void fail(std::string why, bool authentication = false);
  void throw_if_broken() const;
  bool amid_message() const noexcept { return header_read_ != 0; }

  const Family family_;

  std::size_t header_read_ = 0;
  MessageHeader header_;
  MessageBlock body_;
  std::size_t body_read_ = 0;
  bool body_begun_ = false;
  std::vector<ipc::Descriptor> descriptors_;
  bool descriptors_lost_ = false;

  OutgoingMessagePtr unsent_;
  std::size_t sent_of_it_ = 0;

  std::optional<std::string> broken_;
  bool not_authentic_ = false;
};

}  // namespace cofork::detail
