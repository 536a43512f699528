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
class ParentWatch {
 public:
  ParentWatch();  ///< Throws std::system_error.

  /// For `ChildOptions`; 0 means none.
  int death_signal() const noexcept { return read_end_.valid() ? 0 : SIGKILL; }
  /// What the child keeps; -1 if nothing.
  int descriptor() const noexcept { return read_end_.get(); }
  /// In the child, after `enter_child`. Ends it if the parent is gone already.
  void in_child() noexcept;
  /// In the parent: to be kept until the child has ended.
  ipc::Descriptor parent_end() noexcept { return std::move(write_end_); }

 private:
  ipc::Descriptor read_end_, write_end_;
};

}  // namespace cofork::detail
