// What two programs say to each other before they are connected: that they are such programs, and, where there is a
// key, the proof that both know it.
#pragma once

#include <array>
#include <chrono>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/message.hpp>
#include <cofork/ipc/sha256.hpp>
#include <cofork/runtime/timer_heap.hpp>
#include <cstddef>
#include <optional>
#include <string>

namespace cofork::detail {

/// The key of a listener and of those who connect to it; none means no authentication, which is not the empty key.
using AuthenticationKey = std::optional<std::string>;

/// How long a peer may take for the whole of it.
inline constexpr std::chrono::seconds handshake_limit{10};

/// One side of the handshake, over a fresh socket that does not block. Whoever connects says with a greeting, the
/// header of a message of that kind, whether it has a key; without one that is all, and it does not wait. A listener
/// with a key begins with a greeting and a challenge, at once. The other side answers with a challenge of its own and
/// the HMAC of both challenges and its role under the key, and is answered alike: so each knows that the other one
/// knows the key, and no answer can be used twice.
class Handshake {
 public:
  enum class Role { listener, client };
  enum class State { reading, done };

  Handshake(ipc::Descriptor socket, Role role, const AuthenticationKey& key);

  int descriptor() const noexcept { return socket_.get(); }
  Clock::time_point begin() const noexcept { return begin_; }
  Clock::time_point deadline() const noexcept { return begin_ + handshake_limit; }
  /// Goes on as far as it gets without waiting; `reading`: until the socket is readable. Throws AuthenticationError,
  /// also for a peer that says something else, or goes away.
  State step();
  /// Throws AuthenticationError: the time is over.
  [[noreturn]] void fail_for_time() const;
  /// When it is done.
  ipc::Descriptor take_socket() noexcept { return std::move(socket_); }

 private:
  using Challenge = std::array<std::byte, 32>;
  enum class Expected { greeting, answer, verdict };
  struct Greeting {
    MessageHeader header;
    Challenge challenge;  ///< Of a listener only.
  };
  struct Answer {
    Sha256::Digest digest;
    Challenge challenge;
  };
  struct Verdict {
    std::uint64_t accepted;  ///< 1 if the answer was right.
    Sha256::Digest digest;
  };

  State read_greeting();
  void read_answer();
  void read_verdict();
  std::size_t expected_size() const noexcept;
  Sha256::Digest proof_of(Role role) const noexcept;
  void send(const void* bytes, std::size_t size);
  [[noreturn]] void fail(const char* why) const;

  ipc::Descriptor socket_;
  const Role role_;
  const AuthenticationKey key_;
  const Clock::time_point begin_ = Clock::now();
  Expected expected_ = Expected::greeting;
  Challenge listeners_ = {}, clients_ = {};
  std::array<std::byte, 64> buffer_ = {};
  std::size_t read_ = 0;
};

/// The greeting of a side without a key.
void send_plain_greeting(int socket) noexcept;

}  // namespace cofork::detail
