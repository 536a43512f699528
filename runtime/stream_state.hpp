// What is behind a byte stream: the descriptor, what was read ahead, and the operations under way. Not for users.
#pragma once

#include <sys/uio.h>

#include <cofork/runtime/descriptor.hpp>
#include <cofork/runtime/descriptor_poll.hpp>
#include <cofork/runtime/handle.hpp>
#include <cofork/runtime/intrusive_ptr.hpp>
#include <cofork/runtime/read_buffer.hpp>
#include <cstddef>
#include <span>
#include <string>

namespace cofork::detail {

class StreamOperation;

/// Sockets are asked with MSG_DONTWAIT, other descriptors do not block. The system is asked first; only when it has
/// nothing does an operation wait, and after a read that gave less than there was room for it need not even ask.
class StreamState final : public HandleState {
 public:
  enum class Kind {
    unknown,  ///< Asks the system; what is not a socket is made non-blocking.
    socket,
    shared  ///< Unknown, and the mode of the descriptor's open file is left as it is.
  };
  /// `subject` names the stream in errors: "127.0.0.1:80". Throws std::system_error.
  StreamState(Descriptor descriptor, std::string subject, Kind kind);
  ~StreamState() override;

  int descriptor() const noexcept { return descriptor_.get(); }
  const std::string& subject() const noexcept { return subject_; }
  ReadBuffer& buffer() noexcept { return buffer_; }
  DescriptorPoll& poll() noexcept { return poll_; }
  bool is_socket() const noexcept { return is_socket_; }

  /// What `receive` and `send` give when they did nothing. (g++ 12 makes a slow thing of an optional.)
  static constexpr std::ptrdiff_t wait_first = -1;
  /// How much has arrived, 0 bytes at the end. Throws std::system_error.
  std::ptrdiff_t receive(std::span<std::byte> into);
  /// How much of it was taken. Throws std::system_error.
  std::ptrdiff_t send(std::span<const iovec> buffers);
  /// It was waited: the system is to be asked again.
  void look_again() noexcept {
    wait_before_reading_ = false;
    reads_without_waiting_ = 0;
  }
  /// A reader gave up before it was told whether something is there.
  void stopped_waiting() noexcept {
    if (!may_block_) look_again();
  }
  /// Now and then a writer that never has to wait lets the others run: `turn` is the loop's.
  bool others_turn(unsigned turn) noexcept;

  /// Throws std::logic_error when the stream is closed, another operation of that direction is under way, or after
  /// `shutdown_write`.
  void begin(StreamOperation& beginning, DescriptorPoll::For what) {
    StreamOperation*& slot = operation(what);
    if (slot || !descriptor_.valid() || (write_shut_ && what == DescriptorPoll::For::writing)) [[unlikely]]
      fail_to_begin(what);
    slot = &beginning;
  }
  void end(const StreamOperation& ending, DescriptorPoll::For what) noexcept {
    if (operation(what) == &ending) operation(what) = nullptr;
  }
  /// A write ended in the middle.
  void break_writing() noexcept { write_broken_ = true; }
  bool writing_is_broken() const noexcept { return write_broken_; }

  void shutdown_write();
  /// Whoever waits gets an error.
  void close() noexcept;
  /// std::logic_error, with the name of what is not possible now, while an operation is under way.
  void check_idle(const char* what) const;
  /// Gives up the descriptor. std::logic_error while an operation is under way, or something was read ahead.
  int release();

  [[noreturn]] void fail(int error, const char* what) const;

  void list_descriptors(std::vector<int>& to) const override;
  void after_fork_in_child(bool given) noexcept override;
  void close_in_child() noexcept override { close(); }

 private:
  [[noreturn]] void fail_to_begin(DescriptorPoll::For what) const;
  StreamOperation*& operation(DescriptorPoll::For what) noexcept {
    return what == DescriptorPoll::For::reading ? reader_ : writer_;
  }

  // What every operation touches lies together.
  Descriptor descriptor_;
  bool is_socket_ = false;
  bool may_block_ = false;  // so it is read only when something is known to be there
  bool wait_before_reading_ = false;
  bool write_broken_ = false;
  bool write_shut_ = false;
  unsigned char reads_without_waiting_ = 0;
  unsigned char writes_in_turn_ = 0;
  unsigned turn_of_writes_ = 0;
  StreamOperation* reader_ = nullptr;
  StreamOperation* writer_ = nullptr;
  ReadBuffer buffer_;
  DescriptorPoll poll_;
  std::string subject_;
};

using StreamPtr = IntrusivePtr<StreamState>;

}  // namespace cofork::detail
