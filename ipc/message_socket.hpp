// What a connection sends its messages over: packets between related processes, a byte stream between others.
#pragma once

#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/message.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace cofork::detail {

/// A socket that carries whole messages. Nothing in it blocks. Not thread-safe.
class MessageSocket {
 public:
  enum class Sent {
    done,
    begun,        ///< A part of it is out, and it is the socket's: `flush` until that says `done`.
    would_block,  ///< Nothing of it is out.
    closed,       ///< Nobody is left who could read it.
  };
  enum class Received {
    done,
    nothing,  ///< Not yet; what has come of a message is kept.
    ended,    ///< The other end is closed, and nothing of it is left.
  };

  explicit MessageSocket(ipc::Descriptor socket) : socket_(std::move(socket)) {}
  MessageSocket(const MessageSocket&) = delete;
  MessageSocket& operator=(const MessageSocket&) = delete;
  virtual ~MessageSocket() = default;

  int descriptor() const noexcept { return socket_.get(); }

  /// Longer messages are to be put into a file.
  virtual std::size_t in_line_limit() const noexcept = 0;

  /// Throws std::system_error, and std::invalid_argument for a message that cannot travel this way.
  virtual Sent try_send(OutgoingMessagePtr& message) = 0;
  /// Sends what it has of a message that was begun: `done` if nothing is left.
  virtual Sent flush() { return Sent::done; }
  virtual bool unsent() const noexcept { return false; }

  /// Throws DecodeError for what is no message, std::system_error (EMFILE) for one whose descriptors found no room in
  /// this process and are lost.
  virtual Received try_receive(IncomingMessage& message) = 0;
  /// Whether `try_receive` has something to say that it would not say of a silent peer. It takes nothing away.
  virtual bool something_arrived() = 0;

  /// In messages; `received` takes it.
  virtual std::uint8_t kind() const noexcept = 0;
  /// Throws std::logic_error if it is in the middle of a message, so that no other process could go on with it.
  virtual void require_between_messages() const {}
  /// One that came from another process. Throws DecodeError unless the descriptor is of that kind.
  static std::unique_ptr<MessageSocket> received(std::uint8_t kind, ipc::Descriptor socket);

 private:
  ipc::Descriptor socket_;
};

}  // namespace cofork::detail
