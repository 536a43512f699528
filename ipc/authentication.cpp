#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>
#include <cofork/ipc/authentication.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace cofork::detail {

namespace {

void fill_with_random(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::getrandom(bytes.data(), bytes.size(), 0);
    if (count > 0)
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    else if (errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "getrandom");
  }
}

/// To a socket into whose empty buffer they fit; false if the peer is gone, or does not read.
bool send_all(int socket, const void* bytes, std::size_t size) {
  while (true) {
    const ssize_t sent = ::send(socket, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent) == size;
    if (errno != EINTR) return false;
  }
}

MessageHeader greeting_header(std::uint64_t has_key) {
  MessageHeader header;
  header.kind = MessageHeader::greeting;
  header.size = has_key;
  return header;
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

void send_plain_greeting(int socket) noexcept {
  const MessageHeader header = greeting_header(0);
  // A peer that is gone already is noticed by what follows.
  static_cast<void>(send_all(socket, &header, sizeof header));
}

Handshake::Handshake(ipc::Descriptor socket, Role role, const AuthenticationKey& key)
    : socket_(std::move(socket)), role_(role), key_(key) {
  if (!key_) return;
  fill_with_random(role_ == Role::listener ? listeners_ : clients_);
  const Greeting greeting = {greeting_header(1), listeners_};
  send(&greeting, role_ == Role::listener ? sizeof greeting : sizeof greeting.header);
}

void Handshake::fail(const char* why) const { throw AuthenticationError(std::string("authentication failed: ") + why); }

void Handshake::fail_for_time() const { fail("the peer did not answer in time"); }

void Handshake::send(const void* bytes, std::size_t size) {
  // Reading tells that the peer is gone.
  static_cast<void>(send_all(socket_.get(), bytes, size));
}

std::size_t Handshake::expected_size() const noexcept {
  switch (expected_) {
    case Expected::greeting:
      // A listener's challenge comes with it, if it has a key.
      return role_ == Role::listener || read_ < sizeof(MessageHeader) ? sizeof(MessageHeader) : sizeof(Greeting);
    case Expected::answer:
      return sizeof(Answer);
    case Expected::verdict:
      return sizeof(Verdict);
  }
  return 0;
}

Handshake::State Handshake::step() {
  while (true) {
    const std::size_t size = expected_size();
    while (read_ < size) {
      const ssize_t count = ::recv(socket_.get(), buffer_.data() + read_, size - read_, MSG_DONTWAIT);
      if (count == 0) fail("the peer went away");
      if (count > 0) {
        read_ += static_cast<std::size_t>(count);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return State::reading;
      } else if (errno != EINTR) {
        fail("the peer went away");
      }
    }
    switch (expected_) {
      case Expected::greeting:
        if (read_greeting() == State::done) return State::done;
        break;
      case Expected::answer:
        read_answer();
        return State::done;
      case Expected::verdict:
        read_verdict();
        return State::done;
    }
  }
}

Handshake::State Handshake::read_greeting() {
  Greeting greeting;
  std::memcpy(&greeting.header, buffer_.data(), sizeof greeting.header);
  if (greeting.header.magic != MessageHeader::right_magic || greeting.header.kind != MessageHeader::greeting ||
      greeting.header.size > 1)
    fail("the peer speaks another language");
  const bool peer_has_key = greeting.header.size == 1;
  if (!key_ && !peer_has_key) return State::done;
  if (!key_) {
    send_plain_greeting(socket_.get());
    fail("the peer wants a key, and this side has none");
  }
  if (!peer_has_key) fail("the peer has no key");
  if (role_ == Role::listener) {
    read_ = 0;
    expected_ = Expected::answer;
    return State::reading;
  }
  if (read_ < sizeof greeting) return State::reading;
  std::memcpy(&greeting, buffer_.data(), sizeof greeting);
  read_ = 0;
  listeners_ = greeting.challenge;
  expected_ = Expected::verdict;
  const Answer answer = {proof_of(Role::client), clients_};
  send(&answer, sizeof answer);
  return State::reading;
}

void Handshake::read_answer() {
  Answer answer;
  std::memcpy(&answer, buffer_.data(), sizeof answer);
  clients_ = answer.challenge;
  const bool right = same_digest(answer.digest, proof_of(Role::client));
  Verdict verdict = {right ? 1U : 0U, {}};
  if (right) verdict.digest = proof_of(Role::listener);
  send(&verdict, sizeof verdict);
  if (!right) fail("the peer does not know the key");
}

void Handshake::read_verdict() {
  Verdict verdict;
  std::memcpy(&verdict, buffer_.data(), sizeof verdict);
  if (verdict.accepted != 1) fail("the listener has another key");
  if (!same_digest(verdict.digest, proof_of(Role::listener))) fail("the listener does not know the key");
}

Sha256::Digest Handshake::proof_of(Role role) const noexcept {
  const std::array parts = {bytes_of(role == Role::listener ? "cofork listener" : "cofork client"),
                            std::span<const std::byte>(listeners_), std::span<const std::byte>(clients_)};
  return hmac_sha256(bytes_of(*key_), parts);
}

}  // namespace cofork::detail
