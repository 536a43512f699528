// What the tests of the fork server share: a loop, a recorder of events and a pipe.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cofork/executors/fork_server.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace fork_server_test {

using cofork::detail::ForkServer;
using cofork::detail::WorkerExit;
using cofork::ipc::Descriptor;

/// A loop that must have nothing left in it when it is destroyed.
class Loop {
 public:
  Loop() {
    if (uv_loop_init(&loop_) != 0) throw std::runtime_error("uv_loop_init");
  }
  ~Loop() {
    uv_run(&loop_, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop_) != 0) std::terminate();
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  template <class Condition>
  void run_until(Condition condition) {
    while (!condition()) uv_run(&loop_, UV_RUN_ONCE);
  }

  operator uv_loop_t*() { return &loop_; }

 private:
  uv_loop_t loop_;
};

struct Recorder : ForkServer::Events {
  std::map<std::uint64_t, pid_t> started;
  std::map<std::uint64_t, int> failed;
  std::vector<WorkerExit> exits;
  int lost = 0;
  std::function<void()> on_event = [] {};

  void worker_started(std::uint64_t id, pid_t pid) override {
    started[id] = pid;
    on_event();
  }
  void worker_failed(std::uint64_t id, int error) override {
    failed[id] = error;
    on_event();
  }
  void worker_exited(const WorkerExit& exit) override {
    exits.push_back(exit);
    on_event();
  }
  void server_lost() override {
    ++lost;
    on_event();
  }
};

struct Pipe {
  Descriptor reader, writer;

  Pipe() {
    std::array<int, 2> ends;
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }

  /// Reads exactly `size` bytes; fewer if the other ends are closed before.
  std::string read(std::size_t size) const {
    std::string text(size, '\0');
    std::size_t count = 0;
    while (count < size) {
      const ssize_t more = ::read(reader.get(), text.data() + count, size - count);
      if (more <= 0) break;
      count += static_cast<std::size_t>(more);
    }
    text.resize(count);
    return text;
  }

  /// Whether every writer is gone, which is what proves that processes are. On a busy machine it may be a while until
  /// the killed have their turn to die.
  bool ends() {
    writer.reset();
    pollfd end = {reader.get(), POLLIN, 0};
    return ::poll(&end, 1, 30'000) == 1 && read(1).empty();
  }
};

/// One worker from start to end.
inline WorkerExit run_worker(cofork::detail::WorkerMain worker_main, std::vector<int> descriptors = {}) {
  Loop loop;
  Recorder events;
  ForkServer server(loop, events, worker_main, "test");
  server.start(1, descriptors);
  loop.run_until([&] { return !events.exits.empty(); });
  return events.exits.front();
}

// For workers, which run no test framework.

inline void tell(int descriptor, char letter) {
  if (::write(descriptor, &letter, 1) != 1) _exit(99);
}

[[noreturn]] inline void sleep_for_ever() {
  while (true) pause();
}

/// Forks a process that sleeps until it is killed, in its own session if it shall escape, and waits until it is ready.
inline void fork_sleeper(bool escape) {
  Pipe ready;
  if (const pid_t pid = fork(); pid == 0) {
    if (escape) setsid();
    tell(ready.writer.get(), 'r');
    ready = Pipe();
    sleep_for_ever();
  }
  ready.read(1);
}

}  // namespace fork_server_test
