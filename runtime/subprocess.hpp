// Subprocess: another program, as a child of this one.
#pragma once

#include <sys/types.h>

#include <cofork/runtime/byte_stream.hpp>
#include <cofork/runtime/program.hpp>
#include <cofork/runtime/task.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cofork {

/// What a program's standard input, output or error is: that of this process, a pipe from or to this process, or
/// nothing (`None`, `subprocess.PIPE`, `subprocess.DEVNULL`).
enum class Stdio { inherit, pipe, null };

/// Copied by `start`.
struct SubprocessOptions {
  Stdio in = Stdio::inherit, out = Stdio::inherit, err = Stdio::inherit;
  std::string_view cwd{};              ///< The directory in which it starts; empty: ours.
  std::span<const std::string> env{};  ///< All of its environment, "NAME=value"; empty: ours.
};

/// What `Subprocess::communicate` gives.
struct SubprocessOutput {
  int exitcode;
  std::string out, err;  ///< Empty where there was no pipe.
};

/// A program that was started (`subprocess.Popen`, `asyncio.subprocess.Process`). It leads a process group of its own,
/// has default signal handlers and an empty signal mask, and of our descriptors only the standard ones. To start it
/// costs the same however large this process is.
///
/// It does not outlive its `Subprocess`: the destructor sends SIGKILL to its whole group, also to what a program that
/// has ended left running there, and waits for the program's end. The same happens when this process ends, even by
/// SIGKILL. What shall live on must leave the group, as a daemon does (`setsid`), and close descriptors that it does
/// not know. The program also ends with the thread that started it.
///
/// As a group of its own it gets no signal for Ctrl-C, and is stopped (SIGTTIN) when it reads from the terminal.
///
/// It belongs to one loop, or to none: `wait`, `communicate` and the streams need one. Move-only; a moved-from one may
/// only be destroyed or assigned to.
class Subprocess {
 public:
  Subprocess(Subprocess&&) noexcept = default;
  Subprocess& operator=(Subprocess&& other) noexcept;
  ~Subprocess();

  /// Starts `argv[0]`, a path, or a name that is looked for in the PATH of the program's environment. When it returns
  /// the program is executing. `std::system_error` if it cannot be started, "start nosuch: No such file or directory",
  /// also for a wrong `cwd`; `std::invalid_argument` for an empty `argv`, null characters, or an environment that is
  /// not made of NAME=value.
  static Subprocess start(std::vector<std::string> argv, SubprocessOptions options = {});

  pid_t pid() const;
  /// Nothing while it runs; then its exit status, or -N if signal N killed it (`Popen.poll`). 255 if somebody else has
  /// waited for it.
  std::optional<int> exitcode();

  /// Our ends of the pipes: what we write to `in` it reads. `std::logic_error` for what is not a pipe. Close `in` to
  /// let it see the end.
  ByteStream& in();
  ByteStream& out();
  ByteStream& err();

  /// Waits for its end and gives the exit code; several may wait. Cancelling the one who awaits kills the program with
  /// its group, and throws when it has ended; `shield` is how to avoid it. With pipes that nobody reads it may wait for
  /// ever: `communicate`.
  detail::ProgramEnd wait();

  /// Writes `input` to it and closes its input, reads everything that it writes to pipes until their ends, and waits
  /// for its end; all at once, so that any sizes do. That it does not read all of its input is no error. `input` must
  /// outlive the await. Cancelled as `wait`. `std::logic_error` for an input without a pipe.
  Task<SubprocessOutput> communicate(std::string_view input = {});

  /// SIGTERM, SIGKILL or another one to the program alone; nothing once it has ended.
  void terminate();
  void kill();
  void send_signal(int number);

 private:
  explicit Subprocess(std::shared_ptr<detail::Program> program) noexcept : program_(std::move(program)) {}
  const std::shared_ptr<detail::Program>& program() const;
  ByteStream& stream(int descriptor, const char* name);

  std::shared_ptr<detail::Program> program_;
};

}  // namespace cofork
