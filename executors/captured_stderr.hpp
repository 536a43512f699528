// What workers write to their standard error, on its way through the template process that has forked them.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <atomic>
#include <cofork/ipc/descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cofork::detail {

/// Shared by the template and one worker. Numbers of bytes since the worker's start.
struct CapturedProgress {
  /// In the template, which never reads it as the worker can write to it. Twice the number; odd while it is read.
  std::atomic<std::uint64_t> arrived = 0;
  std::atomic<std::uint64_t> task_began_at = 0;
};

/// The standard error of one worker.
class CapturedStderr {
 public:
  /// Of what the worker wrote during its last task so many bytes are told at most.
  static constexpr std::size_t most_told = 2048;

  /// Before the fork. Throws std::system_error.
  CapturedStderr();
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;
  ~CapturedStderr();

  /// In the template after the fork.
  void forked(pid_t worker) noexcept;
  pid_t worker() const noexcept { return worker_; }
  /// The worker was reaped. What it has started may still write.
  void reaped() noexcept { worker_ = 0; }
  bool over() const noexcept { return worker_ == 0 && !reader_.valid(); }

  /// To be polled; -1 after the end.
  int reader() const noexcept { return reader_.get(); }
  /// What has come, as far as there is room in `buffer`; nothing if nothing has, or never will again. Never blocks.
  std::string_view read(std::span<char> buffer);

  /// The last lines that came since the worker began its latest task.
  std::string told() const;

 private:
  friend void enter_captured_worker(const CapturedStderr* captured) noexcept;

  ipc::Descriptor reader_;
  ipc::Descriptor writer_;
  CapturedProgress* progress_;
  pid_t worker_ = 0;
  std::uint64_t arrived_ = 0;
  std::string last_;  // of what arrived
};

/// In a worker that was just forked; null: its standard error is not captured.
void enter_captured_worker(const CapturedStderr* captured) noexcept;
/// In a worker: what was written up to now is not the next task's. Nothing if its standard error is not captured.
void begin_captured_task() noexcept;

/// Passes what comes from all workers on to the standard error of the template process, and does not wait for that: as
/// long as it takes nothing, the workers have to wait when their pipes are full. (Where no file of its own can be
/// opened, as for a socket, it writes when there is room; somebody else who fills it at that moment would hold it up.)
class StderrRelay {
 public:
  /// For the worker that is forked next; null if there are no descriptors for it.
  CapturedStderr* add() noexcept;
  /// The latest was not needed.
  void remove_last() noexcept { workers_.pop_back(); }

  /// Adds what is to be polled; after that `relay` gets the same elements, before anything else is called.
  void watch(std::vector<pollfd>& watched) const;
  void relay(std::span<const pollfd> watched);

  /// Of a worker that was reaped: takes what has come, and tells the last of it. Empty if it is not captured.
  std::string ended(pid_t worker);

  /// Before the process ends: passes on what is there, but waits half a second at most until it is taken.
  void finish();

 private:
  bool read(CapturedStderr& worker);
  void drain(CapturedStderr& worker);
  void append(std::string_view text);
  void write();
  void open_target();

  std::list<CapturedStderr> workers_;
  std::vector<char> buffer_;
  std::string outgoing_;
  bool cut_ = false;
  ipc::Descriptor own_target_;  // where it can be opened once more, without blocking
  int target_ = -1;
  std::size_t most_at_once_ = 0;
};

}  // namespace cofork::detail
