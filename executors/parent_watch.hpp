// Sees to it that a forked child does not outlive the process that forked it.
#pragma once

#include <cofork/ipc/descriptor.hpp>
#include <csignal>
#include <utility>

namespace cofork::detail {

/// Made before the fork. For a child of the main thread nothing but its parent-death signal is needed. That would come
/// too early for a child of another thread, with the end of that thread: there the kernel sends the SIGKILL when the
/// last writing end of a pipe closes. Only the parent holds it, as long as it does not fork by other means than the
/// library's; the copies of such forks delay the signal to their own ends.
///
/// The death signal is for the child alone. That of the pipe can be for its process group, so that what the child has
/// forked itself, and left in its group, ends too; in the group the pipe is inherited, also by programs it starts.
class ParentWatch {
 public:
  enum class Ends { child, group };
  explicit ParentWatch(Ends ends = Ends::child);  ///< Throws std::system_error.

  /// For `ChildOptions`; 0 means none.
  int death_signal() const noexcept { return in_main_thread_ ? SIGKILL : 0; }
  /// What the child keeps; -1 if nothing.
  int descriptor() const noexcept { return read_end_.get(); }
  /// In the child, after `enter_child`; where its group is to end it must lead it. Ends it if the parent is gone.
  void in_child() noexcept;
  /// In the parent: to be kept until the child has ended.
  ipc::Descriptor parent_end() noexcept { return std::move(write_end_); }

 private:
  const Ends ends_;
  const bool in_main_thread_;
  ipc::Descriptor read_end_, write_end_;
};

}  // namespace cofork::detail
