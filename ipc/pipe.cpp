#include <cofork/ipc/packet_socket.hpp>
#include <cofork/ipc/pipe.hpp>

namespace cofork::detail {

std::pair<ConnectionPtr, ConnectionPtr> make_pipe(ipc::PipeOptions options) {
  auto [first, second] = PacketSocket::create_pair();
  auto [first_line, second_line] = EndLine::create();
  return {make_intrusive<ConnectionState>(std::move(first), std::move(first_line), true, options.duplex),
          make_intrusive<ConnectionState>(std::move(second), std::move(second_line), options.duplex, true)};
}

}  // namespace cofork::detail
