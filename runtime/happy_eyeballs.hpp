// Connecting to the one of several addresses that answers first (RFC 8305). Not for users.
#pragma once

#include <chrono>
#include <cofork/runtime/socket_address.hpp>
#include <cofork/runtime/stream_state.hpp>
#include <cofork/runtime/task.hpp>
#include <string>
#include <vector>

namespace cofork::detail {

/// How long an attempt has for its answer until the next one is begun beside it.
constexpr std::chrono::milliseconds connection_attempt_delay{250};

/// The addresses in their order, but those of the first one's family and the others in turn, as far as there are both:
/// so one whole family without a route costs one attempt.
std::vector<SocketAddress> interleaved(const std::vector<SocketAddress>& addresses);

/// Attempts the addresses in this order, the next one as soon as the one before has failed or was without an answer for
/// the delay. The first connection is the result; the other attempts have ended and are closed then. `name` is the
/// peer's in errors. Throws std::system_error when all have failed: its message tells what each address said, its code
/// is the last one's, or an earlier one's if the last had no route (an address of a family that this machine lacks
/// must not hide that the other one was refused). Cancelling ends all attempts.
Task<StreamPtr> connect_to_first(std::vector<SocketAddress> addresses, std::string name);

}  // namespace cofork::detail
