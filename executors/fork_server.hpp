// The parent's side of the fork server: asks the template process for workers and tells how each began and ended.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cofork/executors/options.hpp>
#include <cofork/executors/template_process.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct uv_loop_s;

namespace cofork::detail {

/// How a worker ended.
struct WorkerExit {
  std::uint64_t id;
  pid_t pid;
  int status;         ///< The raw wait status, for WIFEXITED and its kind.
  bool status_known;  ///< False if the template died before it could report: `status` and `usage` are zero then.
  rusage usage;       ///< Of the worker and of those of its children that it waited for.
  std::string last_stderr{};  ///< The last lines of its last task, if they were captured; fit for a terminal.
};

/// Forks workers through one template process, which it starts and ends. For the loop's thread only.
///
/// Each worker is the leader of its own process group and is killed when the template ends, which ends when this
/// process does, however that comes about. Give a worker something to do only after `worker_started`: if the template
/// is killed in the instant of a fork, a worker may have existed for a moment of which nobody was told.
class ForkServer {
 public:
  /// Called from the loop, never from within a call to the server. May call the server, and destroy it. Must not throw.
  struct Events {
    virtual void worker_started(std::uint64_t id, pid_t pid) = 0;
    /// The worker could not be forked, or was given descriptors that could not be passed on; `error` is an errno.
    virtual void worker_failed(std::uint64_t id, int error) = 0;
    /// Once for each started worker, when it is gone; its process group was killed before.
    virtual void worker_exited(const WorkerExit& exit) = 0;
    /// The template died. Every started worker was reported as exited before; what was asked for and not answered will
    /// not be. From now on the server ignores all calls.
    virtual void server_lost() = 0;

   protected:
    ~Events() = default;
  };

  /// Gets a template: flushes stdio and forks it, or asks the early fork server for it. `events` must outlive the
  /// server. Throws std::system_error, and InvalidStateError if there is no early fork server and `method` insists.
  ForkServer(uv_loop_s* loop, Events& events, WorkerMain worker_main, std::string_view name,
             StartMethod method = StartMethod::fork);
  /// With a template that is forked from this process now, and keeps what `inheritance` names.
  ForkServer(uv_loop_s* loop, Events& events, WorkerMain worker_main, std::string_view name,
             const Inheritance& inheritance);
  ForkServer(const ForkServer&) = delete;
  ForkServer& operator=(const ForkServer&) = delete;

  /// Kills every worker's process group, and waits until the workers and the template are reaped; that long it blocks.
  /// No event is reported any more. The memory of the libuv handles is freed by the loop's next turn.
  /// In a forked copy of the process it does nothing.
  ~ForkServer();

  /// Asks for a worker, which gets duplicates of `descriptors` (253 at most), 0, 1 and 2, and no other of
  /// this process (libuv makes two for itself in every process). `id` must not
  /// be in use. Never blocks; the descriptors may be closed when it returns. Answered by `worker_started` or
  /// `worker_failed`. Throws std::invalid_argument for a used `id` or too many descriptors. With `capture_stderr` its
  /// standard error is a pipe, and the template passes on what comes, if it has descriptors for that.
  void start(std::uint64_t id, std::span<const int> descriptors, bool capture_stderr = false);

  /// Sends a signal to the worker's whole process group; after its end, or for an unknown id, nothing happens.
  void signal(std::uint64_t id, int signo);

  /// Whether the worker is dead already, although `worker_exited` is still to come.
  bool worker_has_ended(std::uint64_t id) const;
  /// Whether events are to come in the loop's next turn.
  bool has_news() const;

  /// The template's.
  pid_t pid() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace cofork::detail
