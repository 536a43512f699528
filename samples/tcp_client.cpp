// Says words to tcp_server and prints its answers.
//
//     tcp_client PORT [WORD...]
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

cofork::Task<> say(std::uint16_t port, std::vector<std::string> words) {
  cofork::TcpStream server = co_await cofork::TcpStream::connect("127.0.0.1", port);
  for (const std::string& word : words) {
    co_await server.write(word, "\n");
    const std::optional<std::string> answer = co_await server.read_line();
    std::printf("%s -> %s\n", word.c_str(), answer ? answer->c_str() : "(the server is gone)");
  }
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::printf("usage: tcp_client PORT [WORD...]\n");
    return 0;
  }
  std::vector<std::string> words(argv + 2, argv + argc);
  if (words.empty()) words = {"hello", "world"};
  try {
    cofork::run(say(static_cast<std::uint16_t>(std::atoi(argv[1])), std::move(words)));
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
