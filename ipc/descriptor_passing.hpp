// Messages with descriptors beside them (SCM_RIGHTS) over Unix sockets.
#pragma once

#include <cofork/ipc/descriptor.hpp>
#include <cstddef>
#include <span>
#include <vector>

namespace cofork::ipc {

/// The kernel's limit (SCM_MAX_FD).
inline constexpr std::size_t max_descriptors_per_message = 253;

struct Transfer {
  enum class Outcome {
    done,
    would_block,  ///< Nothing happened; poll the socket and try again.
    closed,       ///< The other end is closed.
  };
  Outcome outcome;
  std::size_t bytes;  ///< Sent or received; on a stream socket maybe fewer than asked for.

  explicit operator bool() const { return outcome == Outcome::done; }
};

struct ReceivedDescriptors {
  std::vector<Descriptor> descriptors;  ///< In the order in which they were sent; close-on-exec.
  bool lost = false;                    ///< Some were dropped, as this process has no free descriptor for them.
};

/// Sends `message` (at least one byte) with duplicates of `descriptors`. Never blocks, and raises no SIGPIPE.
/// Throws std::invalid_argument for too many descriptors, otherwise std::system_error; ETOOMANYREFS means that too many
/// descriptors of this user are under way.
Transfer send_with_descriptors(int socket, std::span<const std::byte> message, std::span<const int> descriptors);

/// Receives one message into `buffer` and replaces `received` by what came beside it. Never blocks. What was sent
/// before the other end was closed still arrives. Throws std::system_error; EMSGSIZE if the message is longer than
/// `buffer`.
Transfer receive_with_descriptors(int socket, std::span<std::byte> buffer, ReceivedDescriptors& received);

}  // namespace cofork::ipc
