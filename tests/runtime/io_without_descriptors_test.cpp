// What needs a descriptor, when there is none left. Also: net_tcp_test.cpp (accept), happy_eyeballs_test.cpp (connect),
// file_test.cpp (open), subprocess_test.cpp.
#include <cofork/runtime/directory.hpp>
#include <cofork/runtime/file.hpp>
#include <cofork/runtime/resolve.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/standard_streams.hpp>
#include <cofork/runtime/tcp.hpp>
#include <cofork/runtime/udp_socket.hpp>
#include <cofork/runtime/unix_socket.hpp>
#include <cofork/runtime/watch.hpp>
#include <cofork/runtime/whole_file.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "runtime/net_peers.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

using namespace cofork;

namespace {

template <class A>
Task<> drop(A awaitable) {
  (void)co_await std::move(awaitable);
}

template <class F>
Task<> call(F function) {
  (void)function();
  co_return;
}

}  // namespace

TEST_CASE("without a free descriptor whatever needs one fails with EMFILE, and works again later") {
  if (support::needs_free_descriptors()) return;
  const std::string path = (std::filesystem::temp_directory_path() / "there").string();
  const std::string other = (std::filesystem::temp_directory_path() / "not there").string();
  const UnixListener listener = UnixListener::bind(path);
  const support::Ends pipe = support::pipe_to_stream();
  const support::Peer input(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  REQUIRE(::dup2(pipe.stream.native_handle(), 0) == 0);

  const std::vector<std::pair<const char*, Task<> (*)(const std::string&, const std::string&)>> operations{
      {"TCP listener", [](auto&, auto&) { return call([] { return TcpListener::bind("127.0.0.1", 0); }); }},
      {"Unix listener", [](auto&, auto& free) { return call([&] { return UnixListener::bind(free); }); }},
      {"Unix stream", [](auto& used, auto&) { return drop(UnixStream::connect(used)); }},
      {"UDP socket", [](auto&, auto&) { return call([] { return UdpSocket::bind("127.0.0.1", 0); }); }},
      {"watch", [](auto&, auto&) { return call([] { return watch("/"); }); }},
      {"standard input", [](auto&, auto&) { return call([] { return stdin_stream(); }); }},
      {"temporary file", [](auto&, auto&) { return drop(File::temporary()); }},
      {"read_file", [](auto&, auto&) { return drop(read_file("/dev/null")); }},
      {"write_file", [](auto&, auto&) { return drop(write_file("/dev/null", "x")); }},
      {"read_directory", [](auto&, auto&) { return drop(read_directory("/proc/self")); }},
  };
  run([&]() -> Task<> {
    co_await drop(stat("/"));  // what the loop and its threads need is open then
    for (const auto& [name, start] : operations) {
      INFO(name);
      int error;
      {
        const support::FewDescriptors few(0);
        error = co_await support::error_of_task(start(path, other));
      }
      CHECK(error == EMFILE);
      error = co_await support::error_of_task(start(path, other));
      CHECK(error == 0);
    }
    int error;
    {
      const support::FewDescriptors few(0);
      error = co_await support::error_of_task(drop(resolve("no such host")));
    }
    CHECK(error != 0);
  });
  REQUIRE(::dup2(input.get(), 0) == 0);
}
