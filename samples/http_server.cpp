// A small web server. It answers GET and HEAD, one request after the other on each connection, also when they are sent
// ahead. What takes a processor is computed in worker processes, for as long as a request may take. Ctrl-C stops it.
//
//     http_server [PORT [SECONDS]]                 any free port by default; it prints which
//     curl http://127.0.0.1:PORT/primes/100000     in another terminal: how many primes there are up to there
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

constexpr std::size_t longest_head = 8192;
constexpr std::chrono::seconds longest_silence{60}, farewell{10};

struct Request {
  std::string_view method, path;  // within its head
  std::string_view refusal;       // why it is answered by an error
  bool last = false;              // on its connection
};

// In a worker: it may take for ever.
std::uint64_t primes_up_to(std::uint64_t limit) {
  std::uint64_t count = 0;
  for (std::uint64_t number = 2; number <= limit; ++number) {
    std::uint64_t divisor = 2;
    while (divisor * divisor <= number && number % divisor != 0) ++divisor;
    count += divisor * divisor > number;
  }
  return count;
}

// Its lines; none when the client has gone, and only an empty one when it is too long.
cofork::Task<std::vector<std::string>> receive(cofork::TcpStream& client) {
  std::vector<std::string> head;
  std::size_t room = longest_head;
  try {
    while (auto line = co_await client.read_line(room)) {
      room -= line->size();
      if (line->ends_with('\r')) line->pop_back();
      if (line->empty() && !head.empty()) co_return head;
      if (!line->empty()) head.push_back(std::move(*line));
    }
    head.clear();
  } catch (const std::length_error&) {
    head.assign(1, "");
  }
  co_return head;
}

Request parse(std::vector<std::string>& head) {
  const Request bad{{}, {}, "400 Bad Request", true};  // who knows where the next one begins
  const std::string_view first = head[0];
  if (first.empty()) return {{}, {}, "431 Request Header Fields Too Large", true};
  const std::size_t one = first.find(' '), two = first.rfind(' ');
  if (one == 0 || two <= one + 1 || first.find(' ', one + 1) != two || first.find("HTTP/", two) != two + 1) return bad;
  if (!first.ends_with("HTTP/1.1")) return {{}, {}, "505 HTTP Version Not Supported", true};
  Request request{first.substr(0, one), first.substr(one + 1, two - one - 1), {}, false};
  int hosts = 0;
  for (auto line = head.begin() + 1; line != head.end(); ++line) {
    for (char& letter : *line) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    const std::size_t colon = line->find_first_of(": \t");
    if (colon == 0 || colon == line->npos || (*line)[colon] != ':') return bad;
    if (line->starts_with("host:")) ++hosts;
    if (line->starts_with("connection:") && line->find("close", colon) != line->npos) request.last = true;
    for (const char* body : {"content-length:", "transfer-encoding:"}) request.last |= line->starts_with(body);
  }
  return hosts == 1 ? request : bad;
}

std::string answer(std::string_view status, std::string_view body, const Request& request) {
  std::string text("HTTP/1.1 ");
  text.append(status).append("\r\nContent-Type: text/plain\r\nContent-Length: ").append(std::to_string(body.size()));
  if (status.starts_with("405")) text.append("\r\nAllow: GET, HEAD");
  if (request.last) text.append("\r\nConnection: close");
  return text.append("\r\n\r\n").append(request.method == "HEAD" ? "" : body);
}

cofork::Task<std::string> answer(const Request& request, cofork::ProcessPoolExecutor& pool, std::chrono::seconds time) {
  const std::string_view method = request.method, path = request.path, primes = "/primes/";
  if (!request.refusal.empty()) co_return answer(request.refusal, "I do not understand\n", request);
  if (method != "GET" && method != "HEAD") co_return answer("405 Method Not Allowed", "GET or HEAD\n", request);
  if (path == "/") co_return answer("200 OK", "Hello!\n", request);
  std::uint64_t number = 0;
  const char* const end = path.data() + path.size();
  const std::size_t digits = path.starts_with(primes) ? primes.size() : path.size();
  const auto [rest, error] = std::from_chars(path.data() + digits, end, number);
  if (error != std::errc{} || rest != end)
    co_return answer("404 Not Found", "There is / and /primes/NUMBER\n", request);
  try {  // the time includes that in which no worker is free
    const auto count = co_await cofork::wait_for(pool.submit(primes_up_to, number), time);
    co_return answer("200 OK", std::to_string(count) + '\n', request);
  } catch (const cofork::TimeoutError&) {
    co_return answer("503 Service Unavailable", "That takes too long\n", request);
  } catch (const cofork::WorkerDied&) {
    co_return answer("500 Internal Server Error", "That failed\n", request);
  }
}

cofork::Task<> skip_rest(cofork::TcpStream& client) {
  std::array<std::byte, 4096> rest;
  while (co_await client.read_some(rest) > 0) continue;
}

cofork::Task<> serve(cofork::TcpStream client, cofork::ProcessPoolExecutor& pool, std::chrono::seconds time) {
  try {
    for (Request request; !request.last;) {
      std::vector<std::string> head = co_await cofork::wait_for(receive(client), longest_silence);
      if (head.empty()) co_return;
      request = parse(head);
      const std::string text = co_await answer(request, pool, time);
      co_await client.write(text);
    }
    // Closing it with something unread resets a connection, and the client might not see the answer.
    co_await client.shutdown_write();
    co_await cofork::wait_for(skip_rest(client), farewell);
  } catch (const std::system_error&) {     // the client has gone
  } catch (const cofork::TimeoutError&) {  // or is silent
  }
}

cofork::Task<> accept_clients(std::uint16_t port, std::chrono::seconds time) {
  cofork::TcpListener listener = cofork::TcpListener::bind("127.0.0.1", port);
  cofork::ProcessPoolExecutor pool;
  std::printf("listening at port %d\n", listener.port());
  std::fflush(stdout);
  const auto body = [&](cofork::TaskGroup& clients) -> cofork::Task<> {
    while (true) try {
        cofork::TcpStream client = co_await listener.accept();
        clients.spawn(serve(std::move(client), pool, time));
      } catch (const std::system_error& error) {  // no descriptor is left; the next accept waits for a moment
        std::fprintf(stderr, "%s\n", error.what());
      }
  };
  co_await cofork::with_task_group(body);
}

int main(int argc, char** argv) try {
  const int port = argc > 1 ? std::atoi(argv[1]) : 0, seconds = argc > 2 ? std::atoi(argv[2]) : 10;
  cofork::run(accept_clients(static_cast<std::uint16_t>(port), std::chrono::seconds(seconds)));
} catch (const cofork::KeyboardInterrupt&) {
  std::printf("stopped\n");
}
