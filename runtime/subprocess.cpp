#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cofork/runtime/gather.hpp>
#include <cofork/runtime/subprocess.hpp>
#include <cofork/runtime/system_call.hpp>
#include <exception>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cofork {

using detail::Descriptor;
using detail::Program;

namespace {

/// Its standard descriptors must not get in the way of one another.
Descriptor above_standard(Descriptor descriptor) {
  if (descriptor.get() > STDERR_FILENO) return descriptor;
  Descriptor moved(::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!moved) detail::throw_errno("duplicate", "a pipe");
  return moved;
}

/// The child's descriptors, and our ends of the pipes.
struct Wiring {
  std::array<Descriptor, 3> theirs;
  std::array<Descriptor, 3> ours;

  void connect(std::size_t descriptor, Stdio kind) {
    if (kind == Stdio::null) {
      Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!null) detail::throw_errno("open", "/dev/null");
      theirs[descriptor] = above_standard(std::move(null));
    } else if (kind == Stdio::pipe) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) < 0) detail::throw_errno("open", "a pipe");
      Descriptor read_end(ends[0]), write_end(ends[1]);
      read_end = above_standard(std::move(read_end));
      write_end = above_standard(std::move(write_end));
      theirs[descriptor] = std::move(descriptor == 0 ? read_end : write_end);
      ours[descriptor] = std::move(descriptor == 0 ? write_end : read_end);
    }
  }
};

Task<> feed(std::optional<ByteStream>& stream, std::string_view input) {
  if (!stream) co_return;
  try {
    if (!input.empty()) co_await stream->write(input);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::broken_pipe) throw;
  }
  stream->close();
}

Task<> drain(std::optional<ByteStream>& stream, std::string& text) {
  if (!stream || stream->closed()) co_return;
  constexpr std::size_t least = 64 * 1024;
  std::size_t size = 0;
  for (;;) {
    if (text.size() - size < least) text.resize(std::max(2 * size, size + least));
    const std::size_t got = co_await stream->read_some(std::as_writable_bytes(std::span(text).subspan(size)));
    if (got == 0) break;
    size += got;
  }
  text.resize(size);
  stream->close();
}

Task<SubprocessOutput> talk(std::shared_ptr<Program> program, std::string_view input) {
  if (!input.empty() && !program->stream(STDIN_FILENO))
    throw std::logic_error("Subprocess::communicate: standard input is not a pipe");
  // Whoever destroys this coroutine does not wait for the program any more.
  struct KillIfDestroyed {
    Program* program;
    ~KillIfDestroyed() {
      if (program) program->kill_group();
    }
  } watch{program.get()};
  std::string out, err;
  std::exception_ptr error;
  try {
    co_await gather(feed(program->stream(STDIN_FILENO), input), drain(program->stream(STDOUT_FILENO), out),
                    drain(program->stream(STDERR_FILENO), err));
  } catch (...) {
    error = std::current_exception();
    program->kill_group();
  }
  detail::ProgramEnd end(program);
  int exitcode = 0;
  try {
    exitcode = co_await end;
  } catch (const CancelledError&) {
    if (!error) error = std::current_exception();
  }
  watch.program = nullptr;
  if (error) std::rethrow_exception(error);
  co_return SubprocessOutput{exitcode, std::move(out), std::move(err)};
}

}  // namespace

Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  if (this == &other) return *this;
  if (program_) program_->end();
  program_ = std::move(other.program_);
  return *this;
}

Subprocess::~Subprocess() {
  if (program_) program_->end();
}

Subprocess Subprocess::start(std::vector<std::string> argv, SubprocessOptions options) {
  Wiring wiring;
  wiring.connect(0, options.in);
  wiring.connect(1, options.out);
  wiring.connect(2, options.err);
  static constexpr std::array<const char*, 3> names = {"standard input of ", "standard output of ",
                                                       "standard error of "};
  detail::ProgramPlan plan;
  plan.arguments = std::move(argv);
  plan.environment.assign(options.env.begin(), options.env.end());
  plan.own_environment = !options.env.empty();
  plan.directory = options.cwd;
  std::array<std::optional<ByteStream>, 3> streams;
  for (std::size_t i = 0; i < 3; ++i) {
    plan.stdio[i] = wiring.theirs[i].get();
    if (!wiring.ours[i]) continue;
    std::string name = plan.arguments.empty() ? std::string() : names[i] + plan.arguments[0];
    streams[i] = ByteStream(detail::make_intrusive<detail::StreamState>(std::move(wiring.ours[i]), std::move(name),
                                                                        detail::StreamState::Kind::unknown));
  }
  return Subprocess(std::make_shared<Program>(detail::start_program(plan), std::move(streams)));
}

const std::shared_ptr<Program>& Subprocess::program() const {
  if (!program_) throw std::logic_error("this subprocess was moved from");
  return program_;
}

pid_t Subprocess::pid() const { return program()->pid(); }
std::optional<int> Subprocess::exitcode() { return program()->exitcode(); }

ByteStream& Subprocess::stream(int descriptor, const char* name) {
  std::optional<ByteStream>& stream = program()->stream(descriptor);
  if (!stream) throw std::logic_error(std::string("Subprocess: standard ") + name + " is not a pipe");
  return *stream;
}

ByteStream& Subprocess::in() { return stream(STDIN_FILENO, "input"); }
ByteStream& Subprocess::out() { return stream(STDOUT_FILENO, "output"); }
ByteStream& Subprocess::err() { return stream(STDERR_FILENO, "error"); }

detail::ProgramEnd Subprocess::wait() { return detail::ProgramEnd(program()); }

Task<SubprocessOutput> Subprocess::communicate(std::string_view input) { return talk(program(), input); }

void Subprocess::terminate() { send_signal(SIGTERM); }
void Subprocess::kill() { send_signal(SIGKILL); }
void Subprocess::send_signal(int number) { program()->send_signal(number); }

}  // namespace cofork
