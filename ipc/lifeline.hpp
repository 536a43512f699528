// Tells the readers of a channel that nobody is left who might write, however the writers ended.
#pragma once

#include <cofork/ipc/descriptor.hpp>
#include <vector>

namespace cofork::detail {

/// One process's share in a pipe that nobody writes to. Whoever may still write to the channel has the pipe's write end
/// open: then the kernel knows when the last of them has closed it or died, and counts those whose handles are on their
/// way in messages too.
///
/// A process that made the channel and gave it away holds the write end only until it first waits for others without
/// having written: its spare handle does not keep the readers waiting. Should it write later, it holds it again.
/// Not thread-safe.
class Lifeline {
 public:
  Lifeline() = default;
  /// A new one, held by this process. Throws std::system_error.
  static Lifeline create();
  /// One that came from another process, held by this one if there is a `write_end`.
  Lifeline(ipc::Descriptor read_end, ipc::Descriptor write_end)
      : read_end_(static_cast<ipc::Descriptor&&>(read_end)), write_end_(static_cast<ipc::Descriptor&&>(write_end)) {}

  bool valid() const noexcept { return read_end_.valid(); }
  bool held() const noexcept { return write_end_.valid(); }
  /// This process may write from now on. Throws std::system_error.
  void hold();
  /// This process will not write (for now).
  void let_go() noexcept;

  /// True if nobody holds it. Whether anybody ever did is for the channel to know.
  bool ended() const noexcept;
  /// Readable (by a hang-up) from when nobody holds it until somebody does again.
  int watch_descriptor() const noexcept { return read_end_.get(); }

  /// A write end for whoever is given the channel in a message. Throws std::system_error.
  ipc::Descriptor write_end() const;

  /// See `HandleState`: the child that is given it holds it.
  void before_fork();
  void after_fork_in_parent() noexcept { for_child_.reset(); }
  void after_fork_in_child(bool given) noexcept;
  void list_descriptors(std::vector<int>& to) const;

 private:
  ipc::Descriptor read_end_, write_end_, for_child_;
};

}  // namespace cofork::detail
