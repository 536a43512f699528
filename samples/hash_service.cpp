// A service whose requests are too heavy for its event loop: they run in worker processes, for as long as is allowed to
// a request, and no longer than their client waits for them. Ctrl-C stops it.
//
//     hash_service [PORT [SECONDS [WORKERS]]]    any free port by default; it prints which
//     nc 127.0.0.1 PORT                          in another terminal, then lines such as
//     1000000 correct horse battery staple       the hash of the text, a million times over
#include <array>
#include <charconv>
#include <chrono>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

struct Settings {
  std::uint16_t port = 0;
  std::chrono::seconds per_request{10};
  unsigned workers = 0;  // as many as there are processors
};

// FNV-1a, again and again. In a worker: it may take for ever, or crash.
std::string hash(std::string_view text, std::uint64_t rounds) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (; rounds > 0; --rounds)
    for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  std::array<char, 17> digits;
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(hash));
  return digits.data();
}

struct Client {
  cofork::TcpStream stream;
  std::deque<std::string> requests;  // that came while an earlier one was at work
};

constexpr std::size_t longest_request = 4096, most_requests = 100;

// False when the client has gone, or asks for more than it waits for.
cofork::Task<bool> receive(Client& client) {
  std::optional<std::string> line = co_await client.stream.read_line(longest_request);
  if (!line || client.requests.size() == most_requests) co_return false;
  client.requests.push_back(std::move(*line));
  co_return true;
}

cofork::Task<> gone(Client& client) {
  for (bool there = true; there;) there = co_await receive(client);
}

// Nothing if the client has gone meanwhile: select then stops the worker that is at it.
cofork::Task<std::optional<std::string>> answer(cofork::ProcessPoolExecutor& pool, const Settings& settings,
                                                Client& client, std::string_view request) {
  std::uint64_t rounds = 0;
  const auto [end, error] = std::from_chars(request.data(), request.data() + request.size(), rounds);
  if (error != std::errc{} || end == request.data() + request.size() || *end != ' ')
    co_return "error: a number, a space and a text were expected";
  const std::string_view text(end + 1, request.data() + request.size());
  try {
    auto result = pool.submit({.timeout = settings.per_request}, hash, text, rounds);
    auto first = co_await cofork::select(result, gone(client));
    if (first.index() == 1) co_return std::nullopt;
    co_return std::get<0>(first);
  } catch (const cofork::TimeoutError&) {
    co_return "error: that takes too long";
  } catch (const cofork::WorkerDied& died) {
    co_return std::string("error: ") + died.what();
  }
}

cofork::Task<> serve(cofork::ProcessPoolExecutor& pool, const Settings& settings, cofork::TcpStream stream) {
  Client client{std::move(stream), {}};
  try {
    while (true) {
      bool there = true;
      if (client.requests.empty()) there = co_await receive(client);
      if (!there) break;
      const std::string request = std::move(client.requests.front());
      client.requests.pop_front();
      const std::optional<std::string> reply = co_await answer(pool, settings, client, request);
      if (!reply) break;
      co_await client.stream.write(*reply, "\n");
    }
  } catch (const std::system_error&) {  // the connection was reset
  } catch (const std::length_error&) {  // a request without an end
  }
}

cofork::Task<> accept_clients(const Settings& settings) {
  cofork::TcpListener listener = cofork::TcpListener::bind("127.0.0.1", settings.port);
  cofork::ProcessPoolExecutor pool({.max_workers = settings.workers});
  std::printf("listening at port %d\n", listener.port());
  std::fflush(stdout);
  const auto body = [&](cofork::TaskGroup& clients) -> cofork::Task<> {
    while (true) try {
        cofork::TcpStream client = co_await listener.accept();
        clients.spawn(serve(pool, settings, std::move(client)));
      } catch (const std::system_error& error) {  // no descriptor is left; the next accept waits for a moment
        std::fprintf(stderr, "%s\n", error.what());
      }
  };
  co_await cofork::with_task_group(body);
}

int main(int argc, char** argv) {
  Settings settings;
  if (argc > 1) settings.port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  if (argc > 2) settings.per_request = std::chrono::seconds(std::atoi(argv[2]));
  if (argc > 3) settings.workers = static_cast<unsigned>(std::atoi(argv[3]));
  try {
    cofork::run(accept_clients(settings));
  } catch (const cofork::KeyboardInterrupt&) {
    std::printf("stopped\n");
  }
}
