// Tells each end of a pipe that nobody holds the other one any more, however its holders ended.
#pragma once

#include <cofork/ipc/descriptor.hpp>
#include <utility>
#include <vector>

namespace cofork::detail {

/// One process's share in a kernel pipe that nobody writes to. Whoever holds the first end of a `ipc::pipe` has its
/// read side open, whoever holds the second end its write side: so each side is told by a hang-up when the last holder
/// of the other has closed it or died. Handles on their way in messages count, as their descriptors do.
///
/// A process can let go of its share and take it up again: meanwhile it keeps a descriptor that names the pipe without
/// opening it. So this does for two directions, with one descriptor in each process, what a `Lifeline` does for one.
/// Not thread-safe.
class EndLine {
 public:
  enum class Side { first, second };

  EndLine() = default;
  /// The line of one end; the descriptor is open for that side.
  EndLine(Side side, ipc::Descriptor descriptor) : descriptor_(std::move(descriptor)), side_(side), held_(true) {}
  /// Both of a new pipe, held. Throws std::system_error.
  static std::pair<EndLine, EndLine> create();
  /// One that came from another process, held. Throws DecodeError unless it is such a descriptor.
  static EndLine received(Side side, ipc::Descriptor descriptor);

  /// A connection over a socket without such a line has an invalid one, which is never hung up.
  bool valid() const noexcept { return descriptor_.valid(); }
  Side side() const noexcept { return side_; }

  bool held() const noexcept { return held_; }
  /// This process may use the end from now on. Throws std::system_error.
  void hold();
  /// This process will not use it (for now). Where that is impossible it goes on to hold it.
  void let_go() noexcept;

  /// While held: nobody holds the other side. It may be held again later.
  bool other_side_gone() const noexcept;
  /// While held: reports a hang-up or an error, and nothing else, when nobody holds the other side.
  int watch_descriptor() const noexcept { return descriptor_.get(); }

  /// A descriptor that holds the end for whoever is given it in a message. Throws std::system_error.
  ipc::Descriptor for_other_process() const;

  /// See `HandleState`: the child that is given it holds it.
  void before_fork();
  void after_fork_in_parent() noexcept { for_child_.reset(); }
  void after_fork_in_child(bool given) noexcept;
  void list_descriptors(std::vector<int>& to) const;

 private:
  ipc::Descriptor open(int flags) const;

  ipc::Descriptor descriptor_, for_child_;
  Side side_ = Side::first;
  bool held_ = false;
};

}  // namespace cofork::detail
