#include <sys/socket.h>

#include <algorithm>
#include <cofork/runtime/lookup.hpp>
#include <cofork/runtime/resolve.hpp>

namespace cofork {

Task<std::vector<std::string>> resolve(std::string host) {
  const std::vector<detail::SocketAddress> addresses = co_await detail::Lookup(std::move(host), 0, SOCK_STREAM);
  std::vector<std::string> hosts;
  for (const detail::SocketAddress& address : addresses) {
    std::string numeric = detail::host_of(address);
    if (std::find(hosts.begin(), hosts.end(), numeric) == hosts.end()) hosts.push_back(std::move(numeric));
  }
  co_return hosts;
}

}  // namespace cofork
