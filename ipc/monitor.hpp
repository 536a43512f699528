// Shared memory that processes change and wait for together, and that none of them can wedge by dying.
#pragma once

#include <atomic>
#include <chrono>
#include <cofork/ipc/memory_file.hpp>
#include <cofork/ipc/process_identity.hpp>
#include <cofork/ipc/reader.hpp>
#include <cofork/ipc/writer.hpp>
#include <cofork/runtime/handle.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace cofork::detail {

/// The beginning of the shared memory.
struct MonitorHeader {
  /// A process that changes the memory, from its first operation until it is done with the channel.
  struct Member {
    std::atomic<ProcessIdentity> identity;  ///< 0: the place is free, and its words are 0
    std::atomic<std::uint64_t> word[3];     ///< what the channel keeps of each member
  };
  static constexpr std::uint32_t max_members = 1024;

  std::uint64_t magic;
  std::uint32_t kind;
  std::uint32_t state_size;
  alignas(64) std::atomic<std::uint64_t> asleep;  ///< counts each time that somebody goes to sleep
  std::atomic<std::uint64_t> rung;                ///< what `asleep` was when the bell was rung last
  alignas(64) std::atomic<std::uint64_t> lock;    ///< its holder's `lock_word`, or 0
  std::atomic<std::uint64_t> members_version;     ///< counts the members that there have ever been
  std::atomic<std::uint32_t> places_used;         ///< no member has a place from here on
  alignas(64) Member members[max_members];
};

/// An epoll set in which a loop watches monitors.
struct MonitorWatcher {
  ipc::Descriptor epoll;
  std::mutex mutex;                  ///< of what follows
  std::vector<std::uint64_t> ended;  ///< the ids of monitors whose states have ended: the loop forgets them
};

/// A piece of shared memory with a bell, which everybody hears who sleeps, and a list of the processes that change it.
/// A sleeper watches each of them through a pidfd: when one dies, wherever that was, the others wake up, take out of
/// the memory what it held, and look again. So whoever changes the memory need not survive to ring the bell.
///
/// Every change must be complete with one atomic store, and safe to be the last. Short changes that take more than one
/// load and store are made under `lock`, which is taken from an owner that died.
class Monitor : public HandleState {
 public:
  using Member = MonitorHeader::Member;

  /// This process's place among the members; from now on its death is noticed. std::system_error if there are too many.
  std::uint32_t join();
  Member& member(std::uint32_t place) noexcept { return header_->members[place]; }
  /// All places that may be taken.
  std::uint32_t places_used() const noexcept;

  /// Ends at once in nearly all cases: it is held for some instructions, or while a message is copied. Joins.
  void lock();
  void unlock() noexcept { header_->lock.exchange(0, std::memory_order_seq_cst); }

  /// Call after each change that somebody may wait for: wakes everybody who sleeps.
  void changed() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    changed_atomically();
  }
  /// The same where the last thing before it was an atomic read-modify-write in sequential consistency.
  void changed_atomically() noexcept {
    const std::uint64_t asleep = header_->asleep.load(std::memory_order_seq_cst);
    if (asleep != header_->rung.load(std::memory_order_relaxed)) [[unlikely]]
      ring(asleep);
  }
  /// From now on every change rings the bell; look once more before sleeping.
  void announce_sleep() noexcept { header_->asleep.fetch_add(1, std::memory_order_seq_cst); }

  /// What sleepers watch: the bell, edge-triggered, for nobody ever empties it.
  int bell() const noexcept { return bell_.get(); }
  /// One more descriptor for sleepers to watch, whose hang-up is a change; -1 for none.
  virtual int hang_up_descriptor() const noexcept { return -1; }
  std::uint64_t members_version() const noexcept { return header_->members_version.load(std::memory_order_seq_cst); }
  /// Unique in this process.
  std::uint64_t id() const noexcept { return id_; }
  /// Leaves the watcher when the state ends: other processes keep the bell open.
  void watched_by(std::shared_ptr<MonitorWatcher> watcher);
  /// A pidfd of each member but this one; those that have ended already are taken out first.
  struct Watched {
    ProcessIdentity identity;
    std::shared_ptr<ipc::Descriptor> pidfd;
  };
  std::vector<Watched> watch_members();
  /// Takes out what members held that have ended, and wakes the others.
  void remove_dead_members();

  /// Sends its descriptors; the constructor that takes a reader is the counterpart.
  void encode(ipc::Writer& writer) const;

  void list_descriptors(std::vector<int>& to) const override;
  void after_fork_in_child(bool given) noexcept override;

 protected:
  /// Makes one; the state is zero. `what` names it in errors ("queue"). Throws std::system_error.
  Monitor(const char* what, std::uint32_t kind, std::size_t state_size);
  /// One that came in a message. DecodeError if it is something else.
  Monitor(const char* what, std::uint32_t kind, std::size_t state_size, ipc::Reader& reader);
  ~Monitor() override;
  void close_in_child() noexcept override;

  /// The channel's own part of the memory, 64-byte aligned.
  template <class State>
  State& state() const noexcept {
    static_assert(alignof(State) <= 64);
    return *reinterpret_cast<State*>(reinterpret_cast<std::byte*>(header_) + sizeof(MonitorHeader));
  }
  ipc::MemoryFile& memory() noexcept { return memory_; }
  /// This process's place; only after `join`.
  std::uint32_t place() const noexcept { return place_.load(std::memory_order_relaxed); }

  /// Called under the lock when the member at `place` has died, or is done with the channel: takes back what it held.
  /// May be called again for the same death. The words are cleared afterwards.
  virtual void member_gone(std::uint32_t place) noexcept { static_cast<void>(place); }
  /// Gives up this process's place. A derived class with a `member_gone` calls it in its destructor.
  void leave() noexcept;

 private:
  static constexpr std::uint32_t no_place = UINT32_MAX;

  void map(std::size_t state_size);
  void leave_sleepers() noexcept;
  void ring(std::uint64_t asleep) noexcept;
  std::uint32_t take_place();
  void become_member(std::uint32_t place) noexcept;
  void take_lock();
  using Places = std::vector<std::pair<std::uint32_t, ProcessIdentity>>;
  /// Watches the living, and gives the dead.
  Places look_for_dead();
  bool take_lock_from_dead(std::uint64_t holder);
  void clear(std::uint32_t place) noexcept;
  void forget_parent() noexcept;

  ipc::MemoryFile memory_;
  ipc::Mapping mapping_;
  ipc::Descriptor bell_;
  MonitorHeader* header_ = nullptr;
  std::atomic<std::uint32_t> place_{no_place};
  std::atomic<std::uint64_t> lock_word_{0};  // place + 1, and above it a number that no other member ever has
  std::atomic<unsigned> generation_;
  std::mutex mutex_;  // of what follows, and of joining
  std::vector<Watched> watched_;
  std::vector<std::weak_ptr<MonitorWatcher>> watched_by_;
  const std::uint64_t id_;
};

/// Holds the lock of a monitor.
class MonitorLock {
 public:
  explicit MonitorLock(Monitor& monitor) : monitor_(monitor) { monitor_.lock(); }
  MonitorLock(const MonitorLock&) = delete;
  MonitorLock& operator=(const MonitorLock&) = delete;
  ~MonitorLock() { monitor_.unlock(); }

 private:
  Monitor& monitor_;
};

}  // namespace cofork::detail
