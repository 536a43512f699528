// A child process, as its parent knows it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/runtime/socket_file.hpp>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cofork::detail {

class ProcessTable;

/// Lives until its Process is gone and it was reaped. Any thread may use it, in the process that made it.
class ProcessChild {
 public:
  /// The files stay until it has ended.
  ProcessChild(std::string name, bool daemon, std::vector<SocketFilePtr> files);
  ProcessChild(const ProcessChild&) = delete;
  ProcessChild& operator=(const ProcessChild&) = delete;
  /// Closes nothing in a process that was forked from the one that made it, where the numbers are somebody else's.
  ~ProcessChild();

  pid_t pid() const noexcept { return pid_; }
  bool daemon() const noexcept { return daemon_; }
  /// Readable from its end on.
  int sentinel() const noexcept { return pidfd_.get(); }

  /// Reaps it if it has ended. Throws std::system_error.
  std::optional<int> exitcode();
  /// Waits for its end without a loop; false if it has not ended at the deadline. Throws std::system_error.
  bool wait(std::optional<std::chrono::steady_clock::time_point> deadline);
  /// Nothing if it has ended. Throws std::system_error.
  void send_signal(int signo);
  void set_name(const std::string& name);

 private:
  friend class ProcessTable;
  const pid_t creator_;
  const bool daemon_;
  std::string name_;             // guarded by the table's mutex
  std::optional<int> exitcode_;  // too
  std::list<std::shared_ptr<ProcessChild>>::iterator place_;
  std::vector<SocketFilePtr> files_;  // too
  const void* run_ = nullptr;         // the loop that it was started in
  pid_t pid_ = 0;
  ipc::Descriptor pidfd_;
  ipc::Descriptor parent_end_;
};

}  // namespace cofork::detail
