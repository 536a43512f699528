// What queues, locks, connections and shared memory have in common: handles that can be copied, that a forked child
// gets only when they are given to it, and that travel in messages.
#pragma once

#include <atomic>
#include <cofork/runtime/intrusive_list.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/socket_file.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <vector>

namespace cofork::detail {

class HandleBase;

/// What the handles of one channel share within a process: its descriptors and mappings. It is closed with the last of
/// them. Handles may be copied and destroyed by any thread.
class HandleState {
 public:
  HandleState(const HandleState&) = delete;
  HandleState& operator=(const HandleState&) = delete;

  /// std::logic_error if this process was not given it.
  void check_given() const {
    if (!given()) [[unlikely]]
      fail_not_given();
  }

  /// The descriptors that a child needs to use it.
  virtual void list_descriptors(std::vector<int>& to) const = 0;
  /// The parent is about to fork a child that is given it; may throw, and then there is no fork.
  virtual void before_fork() {}
  /// In the parent, after that; the child may be started already, or the fork may have failed.
  virtual void after_fork_in_parent() noexcept {}
  /// In the child. `given`: its descriptors are open here; otherwise they are closed already (their numbers may belong
  /// to others), and it cannot be used any more, which `check_given` tells.
  virtual void after_fork_in_child(bool given) noexcept = 0;
  /// The process is about to wait for other processes (`waiting_for_others`).
  virtual void process_waits() noexcept {}

  // Who sees that there is a reference sees that the state is made.
  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_release); }
  void drop_reference() noexcept {
    // After that another thread may drop the last one, so nothing else of this is read.
    const std::uint64_t left = references_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if (left % foreign_reference == left / foreign_reference) last_reference_gone(left);
  }

 protected:
  /// `what` names it in errors ("queue").
  explicit HandleState(const char* what);
  virtual ~HandleState();

  /// Does what the destructor would, in a child whose last reference is gone while the copies that it has of the
  /// parent's stay; as it is, closes the descriptors that are listed. Afterwards the state is not given any more.
  virtual void close_in_child() noexcept;

  /// What stays as long as a child that was given it.
  virtual SocketFilePtr file_of_socket() const noexcept { return nullptr; }

  const char* what() const noexcept { return what_; }
  bool given() const noexcept { return given_.load(std::memory_order_relaxed); }

 private:
  friend class HandleBase;
  friend class HandleRegistry;
  friend class GivenHandles;
  [[noreturn]] void fail_not_given() const;
  void last_reference_gone(std::uint64_t left) noexcept;

  const char* const what_;
  std::atomic<bool> given_{true};
  // And above them, counted in units of `foreign_reference`, those of them that are in a child's copy of its parent's
  // memory, beside the handles that it was given: they do not keep the state open.
  std::atomic<std::uint64_t> references_{0};
  static constexpr std::uint64_t foreign_reference = std::uint64_t{1} << 32;
  List<HandleBase> handles_;     // guarded by the registry's mutex
  HandleState* next_ = nullptr;  // in the registry
  HandleState* previous_ = nullptr;
  bool registered_ = true;
};

/// The base of everything that users hold: a counted reference to a state. It is known by its address, so that
/// `handles_within` finds it in a target's captures. Moving leaves an empty handle. Derived classes add no members.
class HandleBase : private Link<HandleBase> {
 public:
  HandleBase(const HandleBase& other);
  HandleBase(HandleBase&& other) noexcept;
  HandleBase& operator=(const HandleBase& other);
  HandleBase& operator=(HandleBase&& other) noexcept;
  ~HandleBase();

 protected:
  HandleBase() = default;
  explicit HandleBase(IntrusivePtr<HandleState> state);

  /// Null after `reset`, and when moved from.
  HandleState* handle_state() const noexcept { return state_.get(); }
  /// Gives up the reference.
  void reset() noexcept;

 private:
  friend class List<HandleBase>;
  friend class HandleRegistry;
  friend class HandleCollector;
  void enter(IntrusivePtr<HandleState> state) noexcept;
  IntrusivePtr<HandleState> state_;
  bool foreign_ = false;
};

/// Handles, by their addresses, and their states, each once.
class FoundHandles {
 public:
  void add(const HandleBase& handle, HandleState& state);
  void add(const FoundHandles& others);
  bool has(const HandleBase& handle) const noexcept;
  bool has(const HandleState& state) const noexcept;
  const std::vector<IntrusivePtr<HandleState>>& states() const noexcept { return states_; }

 private:
  friend class GivenHandles;
  std::vector<IntrusivePtr<HandleState>> states_;
  std::vector<const HandleBase*> handles_;
};

/// The handles that lie in the memory of a target, or that a word in it points to: captures by value and by reference,
/// members, and the elements of a vector of handles.
FoundHandles handles_within(const void* memory, std::size_t size);
/// Those in vectors of handles that a word in the memory points to: captures of vectors by reference.
FoundHandles handles_in_vectors_at(const void* memory, std::size_t size);

/// True if there may be handles that only `HandleCollector` would find: on the heap, and not of a state in `found`.
bool handles_elsewhere(const FoundHandles& found);

/// Records the handles that are copied or moved from on this thread while it lives: for copying a target whose handles
/// lie deep in containers.
class HandleCollector {
 public:
  HandleCollector() noexcept;
  HandleCollector(const HandleCollector&) = delete;
  HandleCollector& operator=(const HandleCollector&) = delete;
  ~HandleCollector();

  /// Adds what was recorded to `to`. Rethrows if recording failed (`std::bad_alloc`).
  void add_to(FoundHandles& to) const;

 private:
  friend class HandleBase;
  void record(const HandleBase& handle, HandleState& state) noexcept;
  FoundHandles handles_;
  std::exception_ptr error_;
  HandleCollector* outer_;
};

/// Around a fork, in the parent: what the child is given. The order: construct, fork, `in_child()` or destroy.
class GivenHandles {
 public:
  /// Tells each state that it is given.
  explicit GivenHandles(FoundHandles handles);
  GivenHandles(const GivenHandles&) = delete;
  GivenHandles& operator=(const GivenHandles&) = delete;
  ~GivenHandles();

  /// What the child must not close.
  std::vector<int> descriptors() const;
  /// What the parent keeps for as long as the child lives.
  std::vector<SocketFilePtr> socket_files() const;
  /// In the child, after everything else was closed: given handles work, all others report that they were not given.
  /// What is given is open until the child has closed, or destroyed, the handles that were found and its copies of
  /// them; other copies of the parent's, though they work as long, are not waited for.
  void in_child() noexcept;

 private:
  FoundHandles handles_;
};

/// Call it before this process waits for another one: to end, or to send. Ends of channels that were given away, and
/// that this process never used itself, stop counting as somebody who may still write.
void waiting_for_others() noexcept;

/// How often this process was forked from another since the program began: tells a state that it was copied by a `fork`
/// that it does not know of.
unsigned fork_generation() noexcept;

}  // namespace cofork::detail
