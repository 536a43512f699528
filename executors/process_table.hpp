// What a process knows of itself and of the children that it started.
#pragma once

#include <sys/types.h>

#include <cofork/executors/process_child.hpp>
#include <cofork/executors/process_info.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cofork::detail {

/// The one of this process. Any thread may use it.
class ProcessTable {
 public:
  static ProcessTable& instance();

  ProcessInfo current();
  std::optional<ProcessInfo> parent();
  bool daemonic();
  /// The numbers of another Process: "1", or in the first child "1:1".
  std::string next_numbers();
  /// In a child that was forked from a process of the library: this is what it is.
  void become(std::string name, std::string numbers, bool daemonic);
  /// The same for the worker of a pool with this number.
  void become_pool_worker(std::uint64_t number);

  /// A child that is about to be forked. What it needs is allocated, so that nothing fails once it runs.
  class Entry {
   public:
    Entry(std::string name, bool daemon, std::vector<SocketFilePtr> files) {
      list_.push_back(std::make_shared<ProcessChild>(std::move(name), daemon, std::move(files)));
    }

   private:
    friend class ProcessTable;
    std::list<std::shared_ptr<ProcessChild>> list_;
  };
  /// Before a fork: reaps children whose Process is gone, and sees to it that all are joined in the end.
  void prepare();
  /// After it, in the parent. If the child cannot be watched it is killed, and std::system_error is thrown.
  std::shared_ptr<ProcessChild> add(Entry& entry, pid_t pid, ipc::Descriptor parent_end);

  /// Those that run, in the order of their start; the others are reaped. Throws std::system_error.
  std::vector<std::shared_ptr<ProcessChild>> running();
  std::vector<ProcessInfo> active_children();

  std::optional<int> exitcode(ProcessChild& child);
  void rename(ProcessChild& child, const std::string& name);

  /// Waits for the children that were started in a run of `cofork::run`, but for the daemonic ones.
  void join_children_of(const void* run) noexcept;
  /// The process ends: daemonic children get SIGTERM (SIGKILL if they have not ended a second later), and all are
  /// joined.
  void end_children() noexcept;

 private:
  ProcessTable();
  std::unique_lock<std::mutex> lock();
  void was_forked();
  bool reap(ProcessChild& child);

  std::mutex mutex_;
  pid_t pid_;
  std::string name_ = "MainProcess";
  std::string numbers_;
  std::optional<ProcessInfo> parent_;
  bool daemonic_ = false;
  unsigned numbered_ = 0;
  std::list<std::shared_ptr<ProcessChild>> children_;
  bool ends_children_ = false;
};

}  // namespace cofork::detail
