#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cofork/runtime/directory.hpp>
#include <cofork/runtime/file.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/spawn.hpp>
#include <cofork/runtime/to_thread.hpp>
#include <cofork/runtime/wait_for.hpp>
#include <cofork/runtime/whole_file.hpp>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/coroutines.hpp"
#include "support/catch.hpp"

using namespace cofork;
using namespace std::chrono_literals;

namespace {

struct Scratch {
  explicit Scratch(const char* name) : path(std::filesystem::temp_directory_path() / name) {}
  ~Scratch() { std::filesystem::remove_all(path); }
  const std::filesystem::path path;
};

std::span<std::byte> bytes(std::string& text) { return std::as_writable_bytes(std::span(text)); }

/// Every thread of the pool waits until this is destroyed, or told.
class PoolKeptBusy {
 public:
  Task<> start() {
    for (int i = 0; i < 4; ++i)
      calls_.push_back(to_thread([state = state_] {
        ++state->waiting;
        while (!state->released) std::this_thread::sleep_for(100us);
      }));
    while (state_->waiting < 4) co_await sleep(1ms);
  }
  ~PoolKeptBusy() { state_->released = true; }

 private:
  struct State {
    std::atomic<int> waiting = 0;
    std::atomic<bool> released = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::vector<Future<void>> calls_;
};

}  // namespace

TEST_CASE("operations on files that no thread has begun are taken back when they are cancelled", "[threads]") {
  const Scratch file("kept");
  std::ofstream(file.path) << "text";
  run([&]() -> Task<> {
    File open = co_await File::open(file.path, "r+");
    std::string text(4, '-');
    PoolKeptBusy busy;
    co_await busy.start();
    const auto cancelled = [](auto task) { return support::throws<TimeoutError>(wait_for(std::move(task), 1ms)); };
    bool all = co_await cancelled(open.read(bytes(text)));
    all &= co_await cancelled(open.write("more"));
    all &= co_await cancelled(open.read_at(bytes(text), 0));
    all &= co_await cancelled(open.write_at("more", 0));
    all &= co_await cancelled(open.stat());
    all &= co_await cancelled(open.sync());
    all &= co_await cancelled(open.truncate(0));
    all &= co_await cancelled(File::open(file.path, "w"));
    all &= co_await cancelled(File::temporary());
    all &= co_await cancelled(read_file(file.path));
    all &= co_await cancelled(write_file(file.path, "other"));
    all &= co_await cancelled(stat(file.path));
    all &= co_await cancelled(read_directory("/"));
    all &= co_await cancelled(rename_file(file.path, file.path.string() + "2"));
    all &= co_await cancelled(remove_file(file.path));
    all &= co_await cancelled(make_directory(file.path.string() + "3"));
    all &= co_await cancelled(make_temporary_directory());
    all &= co_await cancelled(remove_tree(file.path));
    CHECK(all);
    CHECK(open.tell() == 0);
    CHECK(text == "----");
  });
  std::string text;
  std::getline(std::ifstream(file.path), text);
  CHECK(text == "text");
}

TEST_CASE("a cancelled coroutine starts nothing on a file") {
  const Scratch file("never made");
  run([&]() -> Task<> {
    const auto cancel_itself = [&]() -> Task<bool> {
      try {
        co_await sleep(1h);
      } catch (const CancelledError&) {
      }
      const bool refused = co_await support::throws<CancelledError>(write_file(file.path, "x"));
      co_return refused;
    };
    Future<bool> future = spawn(cancel_itself());
    co_await support::turns(1);
    future.cancel();
    const bool refused = co_await future;
    CHECK(refused);
  });
  CHECK(!std::filesystem::exists(file.path));
}

TEST_CASE("a read that a thread has begun ends before its coroutine goes on", "[threads]") {
  const Scratch fifo("fifo");
  REQUIRE(::mkfifo(fifo.path.c_str(), 0600) == 0);
  run([&]() -> Task<> {
    const int writer = ::open(fifo.path.c_str(), O_RDWR | O_CLOEXEC);
    File in = co_await File::open(fifo.path);
    std::string text(10, '-');
    Future<std::size_t> reading = spawn(in.read(bytes(text)));
    co_await sleep(20ms);  // enough for a thread; if it has not begun, the test shows less
    reading.cancel();
    co_await sleep(5ms);
    if (!reading.done()) CHECK(::write(writer, "abc", 3) == 3);
    try {
      const std::size_t size = co_await reading;
      CHECK(size == 3);
      CHECK(text == "abc-------");
    } catch (const CancelledError&) {
      CHECK(text == "----------");
    }
    ::close(writer);
  });
}

TEST_CASE("a buffer is not touched after the coroutine that waits was destroyed", "[threads]") {
  const Scratch fifo("fifo");
  REQUIRE(::mkfifo(fifo.path.c_str(), 0600) == 0);
  const int writer = ::open(fifo.path.c_str(), O_RDWR | O_CLOEXEC);
  run([&]() -> Task<> {
    File in = co_await File::open(fifo.path);
    auto text = std::make_unique<std::string>(10, '-');
    const auto read = [&]() -> Task<> { co_await in.read(bytes(*text)); };
    auto started = std::make_unique<support::Started>(read());
    co_await sleep(20ms);
    started->destroy();
    text.reset();
    CHECK(::write(writer, "abcdefghij", 10) == 10);
    co_await sleep(5ms);
  });
  ::close(writer);
}

TEST_CASE("a large write that is cancelled ends after a step") {
  run([]() -> Task<> {
    // Nobody reads what a thread writes to the pipe.
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const std::string text(64 * 1024 * 1024, 'x');
    File out = co_await File::open("/proc/self/fd/" + std::to_string(ends[1]), "w");
    Future<void> writing = spawn(out.write(text));
    co_await sleep(20ms);
    writing.cancel();
    std::string taken(256 * 1024, ' ');
    std::size_t total = 0;
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while (!writing.done()) {
      const ssize_t got = ::read(ends[0], taken.data(), taken.size());
      if (got > 0) total += static_cast<std::size_t>(got);
      co_await sleep(1ms);
    }
    CHECK(writing.cancelled());
    CHECK(total < 1024 * 1024);
    ::close(ends[0]);
    ::close(ends[1]);
  });
}

TEST_CASE("run waits for operations on files that still go on when it ends", "[threads]") {
  const Scratch file("left behind");
  run([&]() -> Task<> {
    const auto write = [&]() -> Task<> { co_await write_file(file.path, std::string(10'000'000, 'x')); };
    (void)spawn(write());
    co_await support::turns(2);
  });
}
