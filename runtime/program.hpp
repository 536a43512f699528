// A program that was started: its end, and its streams. Not for users.
#pragma once

#include <array>
#include <cofork/runtime/byte_stream.hpp>
#include <cofork/runtime/context.hpp>
#include <cofork/runtime/descriptor_watch.hpp>
#include <cofork/runtime/errors.hpp>
#include <cofork/runtime/intrusive_list.hpp>
#include <cofork/runtime/loop.hpp>
#include <cofork/runtime/program_start.hpp>
#include <cofork/runtime/sleep.hpp>
#include <coroutine>
#include <memory>
#include <optional>

namespace cofork::detail {

class Program final : private LoopResource {
 public:
  Program(StartedProgram started, std::array<std::optional<ByteStream>, 3> streams) noexcept
      : started_(std::move(started)), streams_(std::move(streams)) {}
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  /// Ends it: `end`.
  ~Program() { end(); }

  pid_t pid() const noexcept { return started_.pid; }
  /// Reaps it, if it has ended. Throws `std::system_error`.
  std::optional<int> exitcode();
  /// To the program alone; nothing once it has ended. Throws `std::system_error`.
  void send_signal(int number);
  /// SIGKILL to its group; nothing once it has ended and was reaped.
  void kill_group() noexcept;
  /// SIGKILL to its group and to whatever it has left there, and reaps it. Whoever waits gets the exit code.
  void end() noexcept;

  std::optional<ByteStream>& stream(int descriptor) noexcept { return streams_[static_cast<std::size_t>(descriptor)]; }

  /// `waiter`, which is suspended, is resumed when the program has ended. Throws `std::system_error`, and
  /// `std::logic_error` while another loop waits for it.
  void wait(Waiter& waiter);

 private:
  void loop_closing() noexcept override { watch_.reset(); }
  bool reap();
  void wake() noexcept;

  StartedProgram started_;
  std::array<std::optional<ByteStream>, 3> streams_;
  std::optional<int> exitcode_;
  List<Waiter> waiters_;
  Loop* loop_ = nullptr;  // of the watch
  std::optional<DescriptorWatch> watch_;
};

/// Waits for the end of a program.
class [[nodiscard("co_await it")]] ProgramEnd {
 public:
  explicit ProgramEnd(std::shared_ptr<Program> program) noexcept : program_(std::move(program)) {}
  /// Only before it is awaited.
  ProgramEnd(const ProgramEnd& other) noexcept : program_(other.program_) {}
  ~ProgramEnd() {
    // The coroutine was destroyed where it was suspended.
    if (node_.suspended()) program_->kill_group();
  }

  bool await_ready() const { return program_->exitcode().has_value(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return suspend(handle, context_of(handle));
  }
  int await_resume() const {
    if (node_.stopped) throw CancelledError();
    return *program_->exitcode();
  }

  operator Task<int>() const { return as_task<int>(*this); }

 private:
  bool suspend(std::coroutine_handle<> handle, Context * context);
  static void on_cancel(Waiter & waiter) noexcept;

  struct Node : Waiter {
    Program* program = nullptr;
    bool stopped = false;  // it ends because of us
  };
  std::shared_ptr<Program> program_;
  Node node_;
};

}  // namespace cofork::detail
