// What a hostile peer says at the handshake, to a listener and to a client, each with a key and without.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cofork/ipc/authentication.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdint>
#include <cstdlib>
#include <span>

using namespace cofork;
using namespace cofork::detail;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto role = (data[0] & 1) != 0 ? Handshake::Role::client : Handshake::Role::listener;
  const AuthenticationKey key = (data[0] & 2) != 0 ? AuthenticationKey("key") : AuthenticationKey();
  // In how many bytes at a time.
  const std::size_t piece = 1 + (data[0] >> 2);
  std::span<const std::uint8_t> left(data + 1, size - 1);
  std::array<int, 2> ends = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) std::abort();
  const ipc::Descriptor peer(ends[0]);
  Handshake handshake(ipc::Descriptor(ends[1]), role, key);
  try {
    Handshake::State state = handshake.step();
    while (state == Handshake::State::reading && !left.empty()) {
      const std::size_t count = std::min(piece, left.size());
      if (::send(peer.get(), left.data(), count, MSG_NOSIGNAL) < 0) return 0;
      left = left.subspan(count);
      state = handshake.step();
    }
    // Without the key nobody gets this far, if there is one.
    if (state == Handshake::State::done && key) std::abort();
  } catch (const AuthenticationError&) {
  }
  return 0;
}
