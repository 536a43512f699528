// One child that is forked for one task, and the socket over which it gives back what the task gave.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cofork/executors/crash_report.hpp>
#include <cofork/executors/process_target.hpp>
#include <cofork/executors/resource_limits.hpp>
#include <cofork/executors/shared_crash_record.hpp>
#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/ipc/message.hpp>
#include <cofork/ipc/packet_socket.hpp>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace cofork::detail {

/// What a message of a child is; its first byte.
enum class ForkedMessage : std::uint8_t { value, error, end };

/// The child's end. Where the socket is full it blocks the process; where the parent is gone it ends it.
class ForkedResults {
 public:
  explicit ForkedResults(std::unique_ptr<PacketSocket> socket);

  template <class T>
  void value(const T& value) {
    OutgoingMessagePtr message = begin(ForkedMessage::value);
    ipc::encode<T>(*message, value);
    send(std::move(message));
  }
  void no_value() { send(begin(ForkedMessage::value)); }
  void end() { send(begin(ForkedMessage::end)); }
  void error(const std::exception_ptr& error);
  /// Until the parent says that it is this child's turn.
  void wait_for_turn();
  /// The next message is the last one: it waits for `flush`, before which the child does all else that it has to do.
  void hold_back() noexcept { held_back_ = true; }
  void flush();

 private:
  OutgoingMessagePtr begin(ForkedMessage kind);
  void send(OutgoingMessagePtr message);
  void transmit(OutgoingMessagePtr message);
  void wait_until(short events);

  std::unique_ptr<PacketSocket> socket_;
  MessageFiles::Owner owner_;
  OutgoingMessagePtr last_;
  bool held_back_ = false;
};

/// A callable and its arguments as a child runs them.
class ForkedBody : public ProcessTarget {
 public:
  /// In the child: makes the call and sends what it gives. Throws what it throws.
  virtual void run(ForkedResults& results) = 0;

 private:
  void call() override {}
};

/// The parent's end: a child that leads its own process group, in a copy of this process's memory.
class ForkedChild {
 public:
  /// Forks. Unless it may begin `at_once` the child waits for `begin()`. The child keeps the descriptors of the handles
  /// that the body was given, and those that exec would; `number` gives it its name. When this process ends, the
  /// child's whole group is killed. `std::system_error` if there can be no child.
  ForkedChild(ForkedBody& body, const ResourceLimits& limits, std::uint64_t number, bool at_once);
  ForkedChild(const ForkedChild&) = delete;
  ForkedChild& operator=(const ForkedChild&) = delete;
  /// Kills it with its whole group and waits until it is reaped. In a forked copy of the process it does nothing.
  ~ForkedChild();

  pid_t pid() const noexcept { return pid_; }
  /// Readable from its end on.
  int pidfd() const noexcept { return pidfd_.get(); }
  /// Readable when a message has come, or none will any more.
  int socket() const noexcept { return socket_->descriptor(); }
  void begin() noexcept;
  /// To its whole group; nothing after its end.
  void signal(int signo) noexcept;
  /// Reaped or not.
  bool has_ended() const noexcept;

  struct End {
    int status = 0;             ///< The raw wait status.
    bool status_known = false;  ///< False if somebody else has reaped it.
    rusage usage{};
  };
  /// Reaps it if it has ended, after killing what is left of its group.
  std::optional<End> reap() noexcept;

  /// What it told of the signal that ended it, if it did.
  Crash crash() const { return read_crash(crash_record_.get()); }

  /// The next message, also after its end. Throws DecodeError for what is none, std::system_error without descriptors.
  MessageSocket::Received receive(IncomingMessage& message) { return socket_->try_receive(message); }

 private:
  [[noreturn]] void run_in_child(ForkedBody& body, std::unique_ptr<PacketSocket> socket, const ResourceLimits& limits,
                                 bool at_once) noexcept;
  bool is_ours() const noexcept;

  const pid_t owner_;
  pid_t pid_ = -1;
  bool reaped_ = false;
  const SharedCrashRecord crash_record_;
  ipc::Descriptor pidfd_, parent_end_;
  std::unique_ptr<PacketSocket> socket_;
};

}  // namespace cofork::detail
