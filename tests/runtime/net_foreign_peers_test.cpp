// Programs that everybody has, where they are installed, against servers of ours.
#include <unistd.h>

#include <cctype>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/subprocess.hpp>
#include <cofork/runtime/tcp.hpp>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace cofork;

namespace {

bool installed(const std::string& program) {
  std::istringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');)
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  std::cout << "skipped: " << program << " is not installed" << std::endl;
  return false;
}

Task<SubprocessOutput> output_of(std::vector<std::string> argv, std::string input) {
  Subprocess program = Subprocess::start(std::move(argv), {.in = Stdio::pipe, .out = Stdio::pipe});
  co_return co_await program.communicate(input);
}

/// Runs a program against a server; gives what it printed.
std::string talk(Task<> server, std::vector<std::string> argv, std::string input) {
  SubprocessOutput output;
  run([&]() -> Task<> {
    auto client = output_of(std::move(argv), std::move(input));
    auto both = gather(std::move(server), std::move(client));
    output = std::get<1>(co_await std::move(both));
  });
  CHECK(output.exitcode == 0);
  return output.out;
}

/// Answers requests with what they said, on one connection until the client closes it.
Task<> serve_http(TcpListener& listener, int& requests) {
  TcpStream client = co_await listener.accept();
  while (auto request = co_await client.read_line(1000)) {
    ++requests;
    std::size_t length = 0;
    while (auto header = co_await client.read_line(1000)) {
      if (*header == "\r") break;
      for (char& letter : *header) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
      if (header->starts_with("content-length:")) length = std::stoul(header->substr(15));
    }
    std::string body(length, '\0');
    co_await client.read_exactly(std::as_writable_bytes(std::span(body)));
    body = request->substr(0, request->find(" HTTP")) + ":" + body;
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    co_await client.write(head, body);
  }
}

Task<> shout_twice(TcpListener& listener) {
  TcpStream client = co_await listener.accept();
  for (int i = 0; i < 2; ++i) {
    auto line = co_await client.read_line();
    if (!line) co_return;
    for (char& letter : *line) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    co_await client.write(*line, "\n");
  }
}

}  // namespace

TEST_CASE("curl is served, several requests over one connection, with a large body") {
  if (!installed("curl")) return;
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  const std::string url = "http://127.0.0.1:" + std::to_string(listener.port());
  const std::string body(3000000, 'b');
  int requests = 0;
  const std::string printed = talk(serve_http(listener, requests),
                                   {"curl", "-q", "-sS", "--noproxy", "*", "-H", "Expect:", "--data-binary", "@-",
                                    url + "/first", "--next", "-q", "-sS", "--noproxy", "*", url + "/second"},
                                   body);
  CHECK(requests == 2);
  CHECK(printed == "POST /first:" + body + "GET /second:");
}

TEST_CASE("nc is served, and sees the end of its connection") {
  if (!installed("nc")) return;
  TcpListener listener = TcpListener::bind("127.0.0.1", 0);
  const std::string printed =
      talk(shout_twice(listener), {"nc", "127.0.0.1", std::to_string(listener.port())}, "hello\nworld\n");
  CHECK(printed == "HELLO\nWORLD\n");
}
