#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/happy_eyeballs.hpp>
#include <cofork/runtime/stream_connect.hpp>
#include <cofork/runtime/task_group.hpp>
#include <cofork/runtime/wait.hpp>
#include <cstddef>
#include <system_error>

namespace cofork::detail {

namespace {

bool has_no_route(const std::error_code& error) {
  return error == std::errc::network_unreachable || error == std::errc::address_not_available ||
         error == std::errc::address_family_not_supported;
}

struct Race {
  explicit Race(std::string peer) : name(std::move(peer)) {}

  void attempt_failed(const SocketAddress& address, const std::error_code& why) {
    failures += (failures.empty() ? "" : "; ") + name_of(address) + ": " + why.message();
    if (!error || !has_no_route(why)) error = why;
  }

  std::string name;
  StreamPtr winner;
  std::string failures;
  std::error_code error;
};

Task<> attempt(Race& race, TaskGroup& group, const SocketAddress& address) {
  try {
    StreamPtr stream = co_await connect_once(address, race.name);
    if (race.winner) co_return;  // both were answered in the same turn
    race.winner = std::move(stream);
    group.cancel();
  } catch (const std::system_error& error) {
    race.attempt_failed(address, error.code());
  }
}

Task<> attempt_all(Race& race, TaskGroup& group, const std::vector<SocketAddress>& addresses) {
  constexpr WaitOptions until_the_next{.timeout = connection_attempt_delay};
  for (const SocketAddress& address : addresses) {
    std::vector<Future<void>> latest;
    latest.push_back(group.spawn(attempt(race, group, address)));
    static_cast<void>(co_await wait(latest, until_the_next));
  }
}

}  // namespace

std::vector<SocketAddress> interleaved(const std::vector<SocketAddress>& addresses) {
  std::vector<SocketAddress> first, others, result;
  for (const SocketAddress& each : addresses)
    (each.family() == addresses.front().family() ? first : others).push_back(each);
  for (std::size_t i = 0; i < first.size() || i < others.size(); ++i) {
    if (i < first.size()) result.push_back(first[i]);
    if (i < others.size()) result.push_back(others[i]);
  }
  return result;
}

Task<StreamPtr> connect_to_first(std::vector<SocketAddress> addresses, std::string name) {
  if (addresses.size() == 1) {
    StreamPtr stream = co_await connect_once(addresses.front(), name);
    co_return stream;
  }
  Race race(std::move(name));
  const auto body = [&](TaskGroup& group) { return attempt_all(race, group, addresses); };
  try {
    co_await with_task_group(body);
  } catch (const CancelledError&) {
    if (!race.winner) throw;
  }
  if (race.winner) co_return race.winner;
  throw std::system_error(race.error, "connect to " + race.name + " (" + race.failures + ")");
}

}  // namespace cofork::detail
