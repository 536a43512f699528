// The template process: a single-threaded child of the user's process that forks the workers of a pool.
//
// It waits on a socket for requests, forks a worker for each, reaps it with `wait4` and reports. It alone sends signals
// to workers, while it has not reaped them yet, so none ever reaches a recycled pid. When its parent ends or closes the
// socket it kills every worker's process group and whatever escaped from it, reaps them all and ends.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cofork/executors/captured_stderr.hpp>
#include <cofork/ipc/descriptor.hpp>
#include <cofork/runtime/handle.hpp>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cofork::detail {

/// The main function of a worker, with the descriptors it was given, in the order of the request. Returning from it
/// ends the worker with status 0 after stdio was flushed.
using WorkerMain = void (*)(std::span<const int> descriptors);

/// What the user's process asks of the template; `start` travels with the worker's descriptors.
struct TemplateRequest {
  enum class Kind : std::uint32_t { start, signal };
  Kind kind;
  std::uint32_t value;  ///< `start`: how many descriptors travel along; `signal`: the signal's number.
  std::uint64_t id;
  bool capture_stderr = false;  ///< Of the worker that is started.
};

/// What the template reports; `started` travels with a pidfd of the worker, if there was a free descriptor for it. The
/// message may end with the part of `text` that is used.
struct TemplateReport {
  enum class Kind : std::uint32_t { started, failed, exited };
  Kind kind;
  std::int32_t value;  ///< `failed`: an errno; `exited`: the raw wait status.
  std::uint64_t id;
  pid_t pid;
  rusage usage;
  std::uint32_t text_size = 0;  ///< `exited`: of what the worker last wrote to its standard error.
  std::array<char, CapturedStderr::most_told> text = {};
};

/// A running template, as its parent sees it.
struct TemplateProcess {
  pid_t pid;
  ipc::Descriptor pidfd;
  ipc::Descriptor control;  ///< A SOCK_SEQPACKET socket, one struct from above per message.
  bool is_child = true;     ///< Of this process, which reaps it.
};

/// What a template and all its workers keep of the process that forks it, beside its memory.
struct Inheritance {
  FoundHandles handles;
  std::vector<int> descriptors;
};

/// Forks the template from the calling process. `name` (15 bytes of it) becomes the name of the template and its
/// workers. If other threads are running, says so on stderr, once per process; not with an `inheritance`, where that is
/// the caller's to say. Throws std::system_error.
TemplateProcess start_template_process(WorkerMain worker_main, std::string_view name,
                                       const Inheritance* inheritance = nullptr);

/// What the template does, in a process that `parent` has just forked for it with all signals blocked. `control` is its
/// end of the socket.
[[noreturn]] void run_template(int control, pid_t parent, WorkerMain worker_main, const char* name) noexcept;

}  // namespace cofork::detail
